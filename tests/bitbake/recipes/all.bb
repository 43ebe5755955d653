# Everything.
do_build[depends] = "flat1:do_build flat2:do_build flat3:do_build deep:do_build ninja:do_build below:do_build serial:do_build \
    number:do_build pseudo:do_build network:do_build install:do_build held:do_build"
do_compile[noexec] = "1"
