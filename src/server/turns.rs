//! Whose turn it is: connections that have something for us, each user's in turn, and of one user's each in turn.
//!
//! Doesn't know what they have. However many connections a user has, and however much he says: another's next word waits
//! for one of his at the most.

use mio::Token;
use std::collections::{HashMap, HashSet, VecDeque};

/// See the module.
#[derive(Debug, Default)]
pub struct Turns {
    users: VecDeque<u32>,
    waiting: HashMap<u32, VecDeque<Token>>,
    all: HashSet<Token>,
}

impl Turns {
    /// A user's connection has something; said twice it still has one turn.
    pub fn push(&mut self, uid: u32, token: Token) {
        if !self.all.insert(token) {
            return;
        }
        let waiting = self.waiting.entry(uid).or_default();
        if waiting.is_empty() {
            self.users.push_back(uid);
        }
        waiting.push_back(token);
    }

    /// Whose turn it is; that one goes to the end when it is pushed again.
    pub fn pop(&mut self) -> Option<Token> {
        let uid = self.users.pop_front()?;
        let waiting = self.waiting.get_mut(&uid)?;
        let token = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&uid);
        } else {
            self.users.push_back(uid);
        }
        self.all.remove(&token);
        Some(token)
    }

    /// Whether a connection's turn is to come.
    pub fn has(&self, token: Token) -> bool {
        self.all.contains(&token)
    }

    /// Nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_his_turn_whatever_another_has() {
        let mut turns = Turns::default();
        (0..100).for_each(|at| turns.push(1, Token(at)));
        (0..2).for_each(|_| turns.push(2, Token(200)));
        let first: Vec<usize> = (0..4).filter_map(|_| turns.pop()).map(|Token(at)| at).collect();
        assert_eq!(first, [0, 200, 1, 2]);
        assert!(turns.has(Token(3)) && !turns.has(Token(2)));
        turns.push(1, Token(0));
        turns.push(2, Token(200));
        let rest: Vec<usize> = std::iter::from_fn(|| turns.pop().map(|Token(at)| at)).collect();
        assert_eq!((&rest[..3], rest.last(), rest.len()), (&[3, 200, 4][..], Some(&0), 99));
        assert!(turns.is_empty() && turns.waiting.is_empty() && turns.all.is_empty());
    }
}
