//! The `jobgate` program. Knows only the command line; everything is in the library.

fn main() -> ! {
    env_logger::Builder::from_env(env_logger::Env::new().filter("JOBGATE_LOG")).init();
    jobgate::cli::main()
}
