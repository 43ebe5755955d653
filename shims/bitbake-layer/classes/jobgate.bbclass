# Tasks share a gate: each one of JOBGATE_TASKS waits for a token before it begins, and what it starts takes its tokens from
# there, too. What is done is in lib/jobgate_bitbake.py; this only ties it to bitbake's events.

# Which tasks wait for a token: names, or patterns (do_image_*). A recipe may set its own.
JOBGATE_TASKS ??= "do_configure do_compile do_install do_package do_rootfs do_image do_image_* do_populate_sdk do_populate_sdk_ext \
    do_compile_kernelmodules do_compile_ptest_base do_install_ptest_base do_compile_ptest_* do_install_ptest_*"

# Of these, which had -j of PARALLEL_MAKE (or PARALLEL_MAKEINST) on their command lines: they are told of the pool instead.
JOBGATE_PARALLEL_TASKS ??= "do_compile do_install do_compile_kernelmodules do_compile_ptest_* do_install_ptest_*"

# Classes whose tools know no jobserver: tokens are held for them, and PARALLEL_MAKE says how many.
JOBGATE_HELD_CLASSES ??= "go go-mod waf scons setuptools3 setuptools_build_meta python_setuptools_build_meta boost"

# What a threshold (BB_PRESSURE_MAX_*) delays: "starts" of tasks, as bitbake itself, or "all" new jobs.
JOBGATE_HOLD ??= "starts"

# Where each task's wait for its token is written down, a JSON object a line; empty: nowhere. pseudo ignores the folder, and
# pybootchartgui the file.
JOBGATE_JOURNAL ??= "${TMPDIR}/buildstats/jobgate.log"

def jobgate_tell(d, event, *args):
    """To the layer's library; without it, as when jobgate was just taken off the machine, the build goes on."""
    import sys
    try:
        folder = d.getVar("JOBGATE_LAYER") + "/lib"
        if folder not in sys.path:
            sys.path.append(folder)
        import jobgate_bitbake
    except Exception as why:
        bb.warnonce("jobgate: %s; the build goes on without the gate" % why)
        return
    getattr(jobgate_bitbake, event)(*args)

addhandler jobgate_build
jobgate_build[eventmask] = "bb.event.BuildStarted bb.event.HeartbeatEvent bb.event.BuildCompleted"
python jobgate_build () {
    jobgate_tell(e.data, "on_build", e, e.data)
}

addhandler jobgate_task
jobgate_task[eventmask] = "bb.build.TaskStarted"
python jobgate_task () {
    jobgate_tell(e.data, "on_task", e.task, e.data)
}
