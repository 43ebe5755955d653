# make that calls ninja with a number of its own.
do_compile () {
    printf 'all:\n\t@ninja --quiet -j6 -f ${SRC}/build.ninja\n' >below.mk
    oe_runmake ${PARALLEL_MAKE} -s -f below.mk
}
