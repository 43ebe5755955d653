# ninja, as meson and cmake call it.
do_compile () {
    ninja --quiet ${PARALLEL_MAKE} -f ${SRC}/build.ninja
}
