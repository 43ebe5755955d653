# Must be serial.
PARALLEL_MAKE = ""
do_compile () {
    oe_runmake ${PARALLEL_MAKE} -s -f ${SRC}/flat.mk NAME=serial
}
