//! What is run while something fails: together these come by every call that jobgate makes.
//!
//! Doesn't know which call fails, nor how it is judged.

/// How a scene may end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// With so many products, never more than so many jobs at once; or refused before anything was started.
    Build { jobs: usize, peak: usize },
    /// With one of these statuses; or refused.
    Answer(&'static [i32]),
}

/// A script, in a folder with makefiles of tiny jobs.
#[derive(Debug)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// Tools that it can't do without.
    pub needs: &'static [&'static str],
    /// For sh(1). `f` is jobgate with the fault, `$JOBGATE` the one without.
    pub script: &'static str,
    /// How it may end.
    pub end: End,
    /// ... with this status.
    pub status: i32,
    /// Its standard input is the gate's socket, listening.
    pub listens: bool,
    /// It looks into the folder of jobgate's own that a run has here.
    pub needs_own_folder: bool,
    /// Something is said also where all is well.
    pub speaks: bool,
}

/// What all scripts can use.
pub const PRELUDE: &str = r#"
f() { LD_PRELOAD=$FAULTS "$JOBGATE" "$@"; }
wrong() { echo "$*" >>wrong; }
# until_status PATTERN PID: the gate says so, or the process has ended.
until_status() { until "$JOBGATE" status --json >view 2>&1 && grep -q "$1" view; do kill -0 "$2" 2>/dev/null || break; done; }
# The gate that runs has no client any more, soon: whatever happened, nothing is lost there.
empty() {
    tries=50
    while "$JOBGATE" status --json >view 2>/dev/null && ! grep -q '"clients":\[\]' view; do
        tries=$((tries - 1)); [ $tries -gt 0 ] || { wrong "the ledger isn't empty: $(cat view)"; break; }
        sleep 0.02
    done
}
# The gate in the foreground, with the fault; a false status: it has refused, and $served is how.
serve() {
    mkfifo ready
    LD_PRELOAD=$FAULTS "$JOBGATE" serve "$@" --ready-fd 3 3>ready & server=$!
    read -r said <ready
    [ "$said" = ready ] || { wait $server; served=$?; false; }
}
end() { kill "$1" $server 2>/dev/null; wait $server; }
"#;

const ALL: &[&str] = &["old/make", "new/make", "new/ninja", "stock/ninja"];

const fn scene(name: &'static str, script: &'static str, jobs: usize) -> Scene {
    let end = End::Build { jobs, peak: 2 };
    Scene { name, needs: ALL, script, end, status: 0, listens: false, needs_own_folder: false, speaks: false }
}

const fn answer(name: &'static str, script: &'static str, statuses: &'static [i32]) -> Scene {
    Scene { end: End::Answer(statuses), ..scene(name, script, 0) }
}

const fn listening(name: &'static str, script: &'static str, jobs: usize) -> Scene {
    Scene { listens: true, ..scene(name, script, jobs) }
}

/// All of them.
pub const SCENES: &[Scene] = &[
    // Each style, shared, private, named or not.
    scene("little", "f run -j2 -- $MAKE44 -s -f little.mk", 3),
    scene("pipe", "f run -j2 -- $MAKE43 -s -j8", 12),
    Scene { end: End::Build { jobs: 12, peak: 4 }, ..scene("fifo", "f run -j4 -- $MAKE44 -s -j8", 12) },
    scene("ninja", "f run -j2 --private -- $NINJA --quiet -j8", 8),
    scene("stock", "f run -j2 -- $TOOLS/stock/ninja --quiet -j8", 8),
    scene("any", "PATH=$TOOLS/old:$PATH f run -j2 -- sh -c '$MAKE44 -s -f jobs.mk && $NINJA --quiet'", 16),
    Scene {
        needs_own_folder: true,
        ..scene(
        "own",
        "unset JOBGATE_SOCKET; mkdir -m 700 runtime/jobgate; mkfifo runtime/jobgate/run-$(stat -Lc %i /proc/self/ns/pid)-4194304-0.fifo
        : >runtime/jobgate/tree-$(stat -Lc %i /proc/self/ns/pid)-4194304; f run -j2 -- $MAKE44 -s -j8",
        12,
    )
    },
    // On a file system of its own, to which no link leads.
    scene("copied", "mkdir -p $APART; XDG_DATA_HOME=$APART f run -j2 -- $MAKE44 -s -j8; status=$?; rm -r $APART; exit $status", 12),
    scene("children ignored", "trap '' CHLD; f run -j2 -- sh -c 'make -s -j8 -f jobs.mk; status=$?; exit $status'", 8),
    scene("fresh", "rm -r cache; f run -j2 -- sh -c '$MAKE44 -s -f jobs.mk'", 8),
    // What a run looks at while it goes on.
    scene(
        "pressure",
        "f run -j2 --max-cpu 900000 --max-io 900000 --max-memory 900000 --heartbeat 0.04 --proc $PWD/proc -- $MAKE43 -s -f slow.mk",
        8,
    ),
    scene(
        "held",
        "(total=0; while [ ! -e done ]; do total=$((total + 100000)); sleep 0.02
            printf 'some avg10=0.00 avg60=0.00 avg300=0.00 total=%020d' $total 1<>proc/pressure/cpu; done) & grows=$!
        f run -j2 --max-cpu 100000 --heartbeat 0.1 --proc $PWD/proc -- sh -c '$MAKE44 -s -f slow.mk; sleep 0.3; : >done; $NINJA --quiet'
        status=$?; : >done; wait $grows; exit $status",
        16,
    ),
    Scene {
        speaks: true,
        ..scene("journal", "f run -j2 --private --journal j --buildstats s --heartbeat 0.05 -- $MAKE44 -s -f slow.mk", 8)
    },
    Scene {
        speaks: true,
        ..scene(
            "journal of a gate",
            r#"mkdir j; serve -j2 --heartbeat 0.05 --journal j || exit $served
            f run --journal k -- $MAKE44 -s -f slow.mk; status=$?; empty; end -TERM; exit $status"#,
            8,
        )
    },
    Scene {
        speaks: true,
        ..scene(
            "closed",
            "f run -j2 --heartbeat 0.03 --diskmon STOPTASKS,$PWD/none,9999G --diskmon WARN,$PWD,9999G -- $MAKE44 -s -f slow.mk",
            8,
        )
    },
    Scene {
        speaks: true,
        status: 143,
        ..scene(
            "halt",
            "exec 2>>stderr; f run --heartbeat 0.03 --diskmon HALT,$PWD,9999G -- sh -c 'sleep 3 & sleep 3 & exec sleep 3'",
            0,
        )
    },
    Scene {
        speaks: true,
        ..scene(
            "signals",
            r#"f run -j2 -- sh -c 'sleep 3 & trap "kill $!; exec $MAKE44 -s -f jobs.mk" USR2; kill -USR1 $PPID
                kill -USR2 $PPID; wait; exit 3'"#,
            8,
        )
    },
    scene(
        "stopped",
        "f run -j2 -- sh -c '(while kill -CONT $PPID 2>/dev/null; do sleep 0.05; kill -CONT $$ 2>/dev/null; done) &
            kill -TSTP $PPID; $MAKE44 -s -f jobs.mk; kill -STOP $$; $NINJA --quiet'",
        16,
    ),
    Scene {
        speaks: true,
        ..scene(
            "waiting",
            r#""$JOBGATE" run -j2 -- sleep 1.2 & "$JOBGATE" run -j2 -- sleep 1.3 &
            until_status '"in_use":2' $!; f run -j2 -- $MAKE44 -s -f jobs.mk; status=$?; wait; exit $status"#,
            8,
        )
    },
    scene(
        "lost",
        r#"f run -j2 -- sh -c 'LD_PRELOAD= "$JOBGATE" status --json >view
            kill -9 $(sed "s/^[^,]*,\"pid\":\([0-9]*\),.*/\1/" view); sleep 0.2; exec $MAKE44 -s -f jobs.mk'"#,
        8,
    ),
    Scene {
        speaks: true,
        ..scene(
            "lost while waiting",
            r#""$JOBGATE" run -j1 -- sleep 0.5 & first=$!; until_status '"in_use":1' $first
            (until_status '"waits_s":[0-9]' $first; kill -9 $(sed 's/^[^,]*,"pid":\([0-9]*\),.*/\1/' view) 2>/dev/null) & f run -j1 -- $MAKE44 -s -f jobs.mk; status=$?; wait; exit $status"#,
            8,
        )
    },
    // Jobs in jobs.
    scene("nested", r#"f run -j2 -- sh -c '"$JOBGATE" run -j8 -- $MAKE44 -s -f jobs.mk; "$JOBGATE" run --weight 2 -- $NINJA --quiet'"#, 16),
    scene("held tokens", "f exec -n 1-2 -- $NINJA --quiet -j2", 8),
    Scene {
        end: End::Build { jobs: 8, peak: 3 },
        ..scene(
            "foreign",
            r#"printf 'all:\n\t+@LD_PRELOAD=$$FAULTS $$JOBGATE run -j8 -- $$TOOL || { status=$$?; echo $$status >failed; exit $$status; }\n' >outer.mk
            TOOL="$MAKE43 -s -f jobs.mk" $MAKE43 -s -j3 -f outer.mk; status=$?
            [ -e failed ] && exit $(cat failed); exit $status"#,
            8,
        )
    },
    Scene {
        end: End::Build { jobs: 8, peak: 3 },
        ..scene(
            "foreign fifo",
            r#"printf 'all:\n\t+@LD_PRELOAD=$$FAULTS $$JOBGATE run -j8 -- $$TOOL || { status=$$?; echo $$status >failed; exit $$status; }\n' >outer.mk
            TOOL="$NINJA --quiet" $MAKE44 -s -j3 --jobserver-style=fifo -f outer.mk; status=$?
            [ -e failed ] && exit $(cat failed); exit $status"#,
            8,
        )
    },
    // Shims: joined as they are, through endpoints of their own, holding tokens, alone, beside each other, outside of all.
    scene("shim joins", "f run -j2 -- sh -c 'make -s -j8 -f jobs.mk'", 8),
    scene("shim of a fifo's make", "PATH=$TOOLS/old:$PATH f run -j2 --style fifo -- sh -c 'make -s -j8 -f jobs.mk'", 8),
    scene("shim of a pipe's ninja", "f run -j2 --style pipe -- sh -c 'ninja --quiet'", 8),
    scene("shim with a cap", "f run -j3 -- sh -c 'make -s -j2 -f jobs.mk'", 8),
    scene("shim holds", "PATH=$TOOLS/stock:$PATH f run -j2 -- sh -c 'ninja --quiet'", 8),
    scene("shim alone", "f run -j2 -- sh -c 'make -s -j1 -f jobs.mk'", 8),
    scene("shims side by side", "f run -j2 -- sh -c 'make -s -f slow.mk & ninja --quiet & make -s -j1 -f more.mk & wait'", 24),
    scene(
        "shim in an empty environment",
        r#"f run -j2 -- sh -c 'env -u MAKEFLAGS -u CARGO_MAKEFLAGS -u JOBGATE_AUTH -u JOBGATE_TREE -u JOBGATE_SOCKET make -s -j8 -f jobs.mk'
        [ $? = 0 ] && PATH=$TOOLS/old:$PATH f run -j2 -- \
            sh -c 'env -u MAKEFLAGS -u CARGO_MAKEFLAGS -u JOBGATE_AUTH -u JOBGATE_TREE -u JOBGATE_SOCKET ninja --quiet'"#,
        16,
    ),
    scene(
        "shim outside",
        r#"serve -j2 || exit $served; PATH=$("$JOBGATE" shims):$PATH
        LD_PRELOAD=$FAULTS make -s -j8 -f jobs.mk && LD_PRELOAD=$FAULTS ninja --quiet; status=$?; empty; end -TERM; exit $status"#,
        16,
    ),
    Scene {
        end: End::Build { jobs: 8, peak: 8 },
        ..scene("shim without a gate", r#"PATH=$("$JOBGATE" shims):$PATH; LD_PRELOAD=$FAULTS make -s -j8 -f jobs.mk"#, 8)
    },
    scene("bitbake", "PATH=$TOOLS/bb:$PATH f run -j2 -- sh -c 'bitbake jobs.mk; BBPOSTCONF=x bitbake more.mk'", 16),
    // What serves a shell, or a task.
    scene(
        "env",
        "f env -j2 --until-stopped --shell sh >exports || exit; . ./exports
        make -s -j8 -f jobs.mk && ninja --quiet; status=$?; f env --stop >exports; kill $JOBGATE_ATTACHED 2>/dev/null; exit $status",
        16,
    ),
    scene(
        "attach",
        r#"sleep 10 & task=$!; f attach -j2 --cap 2 --pid $task >exports || { status=$?; kill $task; exit $status; }
        MAKEFLAGS=$(sed 's/.*"MAKEFLAGS":"\([^"]*\)".*/\1/' exports) $MAKE44 -s -f jobs.mk; status=$?; kill $task; exit $status"#,
        8,
    ),
    answer(
        "attach a build",
        "sleep 10 & task=$!; f attach --build --max-cpu 900000 --pid $task >exports &&
            f attach -n 1 --lender $task --pid $task >exports; status=$?; kill $task; exit $status",
        &[0],
    ),
    // Questions.
    answer("status", r#""$JOBGATE" run -j2 -- sh -c 'LD_PRELOAD=$FAULTS exec "$JOBGATE" status >view'"#, &[0]),
    answer("status, json", r#""$JOBGATE" run -j2 -- sh -c 'LD_PRELOAD=$FAULTS exec "$JOBGATE" status --json >view'"#, &[0]),
    answer(
        "status, again and again",
        r#""$JOBGATE" run -j2 -- sh -c 'LD_PRELOAD=$FAULTS "$JOBGATE" status --watch >view & sleep 1.1; exec 2>/dev/null; kill $! && wait $!'"#,
        &[143],
    ),
    answer("doctor of no gate", "unset JOBGATE_SOCKET; f doctor >view", &[0, 1]),
    answer("set", r#""$JOBGATE" run -j2 -- sh -c 'LD_PRELOAD=$FAULTS exec "$JOBGATE" set jobs=2 max-cpu=900000'"#, &[0]),
    answer("doctor", "f doctor >view", &[0, 1]),
    answer("doctor of a gate", r#""$JOBGATE" run -j2 -- sh -c 'MAKEFLAGS=-j7 LD_PRELOAD=$FAULTS exec "$JOBGATE" doctor --json >view'"#, &[0, 1]),
    answer("shims", "f shims >view", &[0]),
    answer("report", r#""$JOBGATE" run --private --journal j -- true; f report j -o j.svg && f report . -o j.html"#, &[0]),
    answer("bad words", "f run -j0 -- true 2>said; status=$?; f --help >view || wrong help; [ $status = 125 ]", &[0]),
    // The gate itself.
    scene(
        "serve",
        r#"serve -j2 --max-cpu 999999 --heartbeat 0.05 || exit $served
        "$JOBGATE" run -- $MAKE43 -s -j8 & "$JOBGATE" run -- $NINJA --quiet; status=$?; wait $! || status=$?
        "$JOBGATE" set jobs=2 2>/dev/null; kill -HUP $server; sleep 0.1; empty; end -TERM; exit $status"#,
        20,
    ),
    scene(
        "serve, jobs in jobs",
        r#"serve -j2 || exit $served
        "$JOBGATE" run -- sh -c '"$JOBGATE" exec --max-wait 2 -- sleep 1.1 & "$JOBGATE" attach --max-wait 2 -n 1 --lender $$ --pid $$ >view 2>&1
            "$JOBGATE" run --weight 2 --max-wait 2 -- $MAKE44 -s -f jobs.mk; status=$?; wait; exit $status'
        status=$?; empty; end -TERM; exit $status"#,
        8,
    ),
    listening(
        "service",
        r#"printf 'jobs = 2\nmax-cpu = 900000\n[access]\nusers = ["nobody"]\ngroups = ["%s"]\n[quota.users]\n%s = 2\n' $(id -gn) $(id -un) >c.toml
        mkfifo ready; exec 5<&0 0</dev/null; NOTIFY_SOCKET=$PWD/notify WATCHDOG_USEC=100000 LD_PRELOAD=$FAULTS sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$ exec "$JOBGATE" serve --config c.toml --ready-fd 4 4>ready' 3<&5 5<&- & server=$!
        exec 5<&-; read -r said <ready; [ "$said" = ready ] || { rm gate/socket; wait $server; exit; }
        "$JOBGATE" run -- $MAKE44 -s -j8; status=$?; kill -HUP $server; sleep 0.1; empty; end -TERM; exit $status"#,
        12,
    ),
    listening(
        "on demand",
        r#"exec 5<&0 0</dev/null
        LD_PRELOAD=$FAULTS "$JOBGATE" serve --on-demand --recovering --socket $JOBGATE_SOCKET 3<&5 5<&- & server=$!; exec 5<&-
        "$JOBGATE" run -j2 -- $MAKE44 -s -j8; status=$?; "$JOBGATE" run -j2 -- true 2>said; wait $server; exit $status"#,
        12,
    ),
];
