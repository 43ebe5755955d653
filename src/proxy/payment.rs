//! The token that stands for a job's payment while another tool of the same job makes use of that.
//!
//! Doesn't know what is started with it.

use crate::policy::time::Moment;
use crate::sys::foreign::Foreign;
use crate::sys::tree_file::Jobs;
use std::time::Duration;

/// It is looked so often whether the job's own payment has become free, or what was given back is to be had again.
const LOOK: Duration = Duration::from_millis(50);

/// See the module. What is held goes back when it is dropped.
#[derive(Debug)]
pub struct Payment {
    token: Foreign,
    job: Option<(Jobs, i32)>,
    stopped: bool,
    /// The tool was stopped and goes on: the token isn't had again yet.
    lacking: bool,
    next: Moment,
}

impl Payment {
    /// `token`: one that was taken. `job`: what to look after; `None`: the token is kept to the end.
    pub fn new(token: Foreign, job: Option<(Jobs, i32)>) -> Payment {
        Payment { token, job, stopped: false, lacking: false, next: Moment::default() }
    }

    /// Job control has stopped the tool, or lets it go on: meanwhile others may have the token.
    pub fn stop(&mut self, stopped: bool) {
        if stopped && self.token.have() > 0 {
            self.give_back();
            self.lacking = self.token.have() == 0;
        }
        self.stopped = stopped;
    }

    /// When it wants to look.
    pub fn deadline(&self) -> Option<Moment> {
        let looks = self.lacking || (self.job.is_some() && self.token.have() > 0);
        (looks && !self.stopped).then_some(self.next)
    }

    /// Looks, if it is time to.
    pub fn pass(&mut self, now: Moment) {
        if self.deadline().is_none_or(|next| now < next) {
            return;
        }
        self.next = now + LOOK;
        let is_free = self.job.as_ref().is_some_and(|(jobs, job)| jobs.lock(*job).unwrap_or(false));
        if is_free {
            self.give_back();
            self.lacking = false;
        } else if self.lacking {
            // Where that fails it never will be.
            self.lacking = matches!(self.token.take(), Ok(false));
        }
    }

    fn give_back(&mut self) {
        if let Err(error) = self.token.give_back(1) {
            log::info!("the jobserver above: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::makeflags::Inherited;
    use crate::sys::descriptor::{read_tokens, standing, write_tokens};
    use std::os::fd::AsRawFd;

    #[test]
    fn others_may_have_it_while_the_tool_is_stopped() {
        let (read, write) = nix::unistd::pipe().unwrap();
        write_tokens(&write, 1).unwrap();
        let pool = Inherited::Pipe { read: read.as_raw_fd(), write: write.as_raw_fd() };
        let mut foreign = Foreign::open(&pool).unwrap();
        assert!(foreign.take().unwrap());
        let mut payment = Payment::new(foreign, None);
        let at = |ms| Moment::at(Duration::from_millis(ms));
        let there = || standing(&read).unwrap();
        assert_eq!((payment.deadline(), there()), (None, 0));
        payment.stop(true);
        payment.pass(at(1000));
        assert_eq!((payment.deadline(), there()), (None, 1));
        assert_eq!(read_tokens(&read, 1).unwrap(), 1);
        payment.stop(false);
        payment.pass(at(2000));
        assert_eq!(payment.deadline(), Some(at(2050)));
        write_tokens(&write, 1).unwrap();
        payment.pass(at(2050));
        assert_eq!((payment.deadline(), there()), (None, 0));
        drop(payment);
        assert_eq!(there(), 1);
    }
}
