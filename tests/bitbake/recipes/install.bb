# Parallel in do_install, not in do_compile.
do_compile () {
    :
}
do_install () {
    oe_runmake ${PARALLEL_MAKEINST} -s -f ${SRC}/flat.mk
}
