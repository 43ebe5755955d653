# What OE's base class does of it: oe_runmake, and a do_build that wants do_install.
oe_runmake () {
    ${MAKE} ${EXTRA_OEMAKE} "$@"
}

do_configure () {
    :
}
addtask configure
do_configure[dirs] = "${B}"

do_compile () {
    oe_runmake ${PARALLEL_MAKE} -s -f ${SRC}/flat.mk
}
addtask compile after do_configure
do_compile[dirs] = "${B}"

do_install () {
    :
}
addtask install after do_compile
do_install[dirs] = "${B}"

do_build () {
    :
}
addtask build after do_install
do_build[noexec] = "1"
