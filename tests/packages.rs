//! Packages as others build them: gcc's link-time optimisation, a python package with a C extension, a Debian package.
//!
//! Doesn't know what any of them calls below: their compilers are counted from outside, by stand-ins that stamp a log.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::shared::Shared;
use support::{Real, clean, jobs, succeed, tool, tool_at};

/// What a stand-in does besides, so that jobs that could run at once are seen to.
const LONGER: f64 = 0.15;

/// A file to be run, at `path`.
fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Stands for the program `real`: a run with `word` among its arguments is a job.
fn stamp(folder: &Path, name: &str, real: &Path, word: &str) {
    let real = real.display();
    let stamps = support::job(LONGER)
        .replace(&format!("sleep {LONGER}"), &format!("sleep {LONGER}; {real} \"$@\"; ended=$?"));
    let text = format!("case \" $* \" in *' {word} '*) {stamps}; exit $ended;; esac\nexec {real} \"$@\"\n");
    std::fs::create_dir_all(folder).unwrap();
    script(&folder.join(name), &text);
}

/// The first on PATH; `None` after a line that says SKIPPED.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    if found.is_none() {
        support::skipped(&format!("there is no {name}"));
    }
    found
}

/// PATH with these folders first.
fn path_of(folders: &[&Path]) -> std::ffi::OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(|folder| folder.to_path_buf());
    std::env::join_paths(folders.chain(std::env::split_paths(&old))).unwrap()
}

/// Two programs of nine functions each, to be linked by `make`; a job is the compilation of one function.
fn link(make: Real, recursive: &str, lto: &str) {
    let (Some(make), Some(gcc)) = (tool(make), on_path("gcc")) else { return };
    let shared = Shared::new();
    let path = |name: &str| shared.folder.path().join(name);
    let compiler = succeed(clean(Command::new(&gcc)).arg("-print-prog-name=lto1"));
    let compiler = PathBuf::from(compiler.trim_end());
    if !compiler.is_absolute() {
        return support::skipped("this gcc has no lto1");
    }
    stamp(&path("stand-ins"), "lto1", &compiler, "-fltrans");
    let numbers = || 0..8;
    let function =
        |n| format!("__attribute__((noinline)) int f{n}(int x) {{ return x + {n} + (rand() & 0); }}\n");
    let calls: Vec<String> = numbers().map(|n| format!("f{n}(1)")).collect();
    let main = format!("int main(void) {{ printf(\"%d\\n\", {}); return 0; }}\n", calls.join(" + "));
    let source = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n{}{main}",
        numbers().map(function).collect::<String>()
    );
    std::fs::write(path("main.c"), source).unwrap();
    succeed(shared.command("gcc").args(["-O2", "-flto", "-c", "main.c"]));
    let options = format!("-O2 {lto} -flto-partition=max");
    let rule = format!("all: one two\none two: main.o\n\t{recursive}@gcc {options} $< -o $@\n");
    std::fs::write(path("Makefile"), rule).unwrap();
    let mut command = shared.jobgate(&["run", "-j2", "--", "sh", "-c", "make"]);
    command.env("PATH", path_of(&[make.parent().unwrap()])).env("COMPILER_PATH", path("stand-ins"));
    succeed(&mut command);
    for program in ["./one", "./two"] {
        assert_eq!(succeed(&mut shared.command(program)), "36\n", "{lto}");
    }
    let seen = jobs(&shared.log());
    let what = format!("{} {recursive}{lto}", make.display());
    assert!(seen.count == 18 && seen.peak == 2 && seen.mean >= 1.0, "{what}: {seen:?}");
}

/// gcc starts a make of its own, by its name; as many jobs as there are cores, as the jobserver has, or as it was told.
#[test]
fn link_time_optimisation() {
    let rows: Vec<_> = [Real::SystemMake, Real::Make441]
        .iter()
        .flat_map(|&make| ["-flto=auto", "-flto=jobserver", "-flto=8"].map(|lto| (make, "", lto)))
        .chain([(Real::SystemMake, "+", "-flto=jobserver"), (Real::Make441, "+", "-flto=jobserver")])
        .collect();
    support::pool::at_once(&rows, |&(make, recursive, lto)| link(make, recursive, lto));
}

const PYPROJECT: &str =
    "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";

/// An extension that needs a library which cmake builds.
const SETUP: &str = r#"
import os, subprocess
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class Build(build_ext):
    def run(self):
        subprocess.check_call(["cmake", "-G", os.environ["GENERATOR"], "-S", ".", "-B", "lib"])
        subprocess.check_call(["cmake", "--build", "lib", "-j8"])
        super().run()

setup(name="sums", version="1", py_modules=[], cmdclass={"build_ext": Build},
      ext_modules=[Extension("sums", ["sums.c"], extra_objects=["lib/libparts.a"])])
"#;

const EXTENSION: &str = r#"
#include <Python.h>
int part0(void), part1(void), part2(void), part3(void), part4(void), part5(void);
static PyObject *sum(PyObject *self, PyObject *none) {
    return PyLong_FromLong(part0() + part1() + part2() + part3() + part4() + part5());
}
static PyMethodDef methods[] = {{"sum", sum, METH_NOARGS, 0}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "sums", 0, -1, methods};
PyMODINIT_FUNC PyInit_sums(void) { return PyModule_Create(&module); }
"#;

fn build_python_package(generator: &str, name: &str, real: Real) {
    let (Some(python), Some(cmake)) = (tool_at("python/bin/python"), tool(Real::Cmake)) else { return };
    let (Some(build), Some(gcc)) = (tool(real), on_path("gcc")) else { return };
    let headers = "import os, sysconfig; print(os.path.exists(sysconfig.get_path('include') + '/Python.h'))";
    if succeed(clean(Command::new(&python)).args(["-c", headers])) != "True\n" {
        return support::skipped("this python has no headers");
    }
    let shared = Shared::new();
    let path = |name: &str| shared.folder.path().join(name);
    stamp(&path("bin"), "cc", &gcc, "-c");
    std::os::unix::fs::symlink(build, path("bin").join(name)).unwrap();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write("pyproject.toml", PYPROJECT);
    write("setup.py", SETUP);
    write("sums.c", EXTENSION);
    let parts: Vec<String> = (0..6).map(|n| format!("part{n}.c")).collect();
    for (n, part) in parts.iter().enumerate() {
        write(part, &format!("int part{n}(void) {{ return {n}; }}\n"));
    }
    let head = "cmake_minimum_required(VERSION 3.13)\nproject(parts LANGUAGES C)\n";
    let library = format!("add_library(parts STATIC {})\n", parts.join(" "));
    write("CMakeLists.txt", &format!("{head}set(CMAKE_POSITION_INDEPENDENT_CODE ON)\n{library}"));
    let line = "python -m build --no-isolation --wheel >said 2>&1 || { cat said; exit 1; }";
    let mut command = shared.jobgate(&["run", "-j2", "--", "sh", "-c", line]);
    command.env("PATH", path_of(&[&path("bin"), python.parent().unwrap(), cmake.parent().unwrap()]));
    succeed(command.env("CC", "cc").env("GENERATOR", generator).env("NAME", "cc"));
    let wheels = std::fs::read_dir(path("dist")).unwrap().count();
    assert_eq!(wheels, 1);
    let unpack = "unpacked=$(mktemp -d -p .) && python -m zipfile -e dist/*.whl $unpacked && \
                  cd $unpacked && python -c 'import sums; print(sums.sum())'";
    let mut ask = shared.command("sh");
    ask.args(["-c", unpack]).env("PATH", path_of(&[python.parent().unwrap()]));
    assert_eq!(succeed(&mut ask), "15\n");
    // cmake tries the compiler before, one at a time; the extension itself comes last.
    let seen = jobs(&shared.log());
    assert!(seen.count >= 7 && seen.peak == 2, "{generator}: {seen:?}");
}

/// `python -m build` -> setuptools -> `cmake --build -j8` -> make or ninja.
#[test]
fn a_python_package() {
    let rows = [
        ("Unix Makefiles", "make", Real::SystemMake),
        ("Ninja", "ninja", Real::Ninja),
        ("Ninja", "ninja", Real::OldNinja),
    ];
    support::pool::at_once(&rows, |&(generator, name, real)| build_python_package(generator, name, real));
}

fn build_debian_package(make: Real) {
    let (Some(source), Some(gcc)) = (tool_at("source/tree_2.1.0-1.dsc"), on_path("gcc")) else { return };
    let Some(make) = tool(make) else { return };
    let needed = ["dpkg-source", "dpkg-buildpackage", "dh"].map(on_path);
    if needed.contains(&None) {
        return;
    }
    let shared = Shared::new();
    let path = |name: &str| shared.folder.path().join(name);
    stamp(&path("bin"), "gcc", &gcc, "-c");
    succeed(shared.command("dpkg-source").args(["--no-check", "-x"]).arg(source).arg("tree"));
    let line = "cd tree && dpkg-buildpackage -b -us -uc -d -j8 >../said 2>&1 || { cat ../said; exit 1; }";
    let mut command = shared.jobgate(&["run", "-j2", "--", "sh", "-c", line]);
    succeed(command.env("PATH", path_of(&[&path("bin"), make.parent().unwrap()])));
    let packages = std::fs::read_dir(shared.folder.path()).unwrap().flatten();
    let is_package = |name: &str| name.starts_with("tree_2.1.0-1_") && name.ends_with(".deb");
    assert!(packages.map(|entry| entry.file_name()).any(|name| is_package(&name.to_string_lossy())));
    let seen = jobs(&shared.log());
    assert!(seen.count >= 8 && seen.peak == 2 && seen.mean >= 1.0, "{seen:?}");
}

/// dpkg-buildpackage -> `/usr/bin/make` -> dh -> the `make -j8` of PATH, which is told of no jobserver: debhelper takes it out.
#[test]
fn a_debian_package() {
    support::pool::at_once(&[Real::SystemMake, Real::Make441], |&make| build_debian_package(make));
}
