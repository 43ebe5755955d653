# A tool that knows no jobserver: told a number, whatever its class is called.
inherit held
do_compile () {
    echo "${PARALLEL_MAKE}" >number
    env -u MAKEFLAGS ${SRC}/held.sh ${PARALLEL_MAKE}
}
