# Recursive.
do_compile () {
    oe_runmake ${PARALLEL_MAKE} -s SRC=${SRC} -f ${SRC}/deep.mk
}
