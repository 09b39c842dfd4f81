//! A core dump is a copy of a process's memory, with all that this has in it: keys, kubeconfigs, tokens, the data of
//! Secrets. A crash, or an order to write one, must not put them into a file.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches core dumps off for this process, once and for all, and for the programs that it starts from now on.
///
/// On Linux it also keeps everybody but root from reading this process's memory from outside, debuggers among them;
/// that holds for this process alone.
///
/// # Errors
/// When the system does not allow it.
pub fn switch_off() -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // A program that the system hands dumps to (`kernel.core_pattern` with a `|`) gets them whatever the limit is.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn neither_a_file_nor_a_program_gets_a_dump_and_nothing_can_raise_the_limit_again() {
        switch_off().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
    }
}
