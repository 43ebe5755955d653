//! What a hostile user tries by sheer mass: of connections, of bytes, of messages and of what is none.
//!
//! Doesn't know what the honest user's build made of it.

use super::hostile::{Conn, Strike, place};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// All that the kernel lets one process have.
fn many_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most);
}

pub fn connections() -> Strike {
    many_descriptors();
    let mut streams = Vec::new();
    Box::new(move |_| {
        for _ in 0..500 {
            let Ok(mut stream) = UnixStream::connect(place("JOBGATE_SOCKET")) else { break };
            // Each second one says something: who says nothing is ended soon.
            if streams.len() % 2 == 0 {
                let _ = stream.write_all(b"{\"hello\":{\"protocol\":\"1.0\",\"idle\":true}}\n");
            }
            streams.push(stream);
        }
    })
}

pub fn half() -> Strike {
    many_descriptors();
    let mut streams: Vec<UnixStream> = Vec::new();
    Box::new(move |_| {
        if streams.len() < 400 {
            streams.extend((0..100).filter_map(|_| UnixStream::connect(place("JOBGATE_SOCKET")).ok()));
        }
        for stream in &mut streams {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(b"{\"hello\":{\"protocol\":\"");
        }
    })
}

pub fn gigabytes() -> Strike {
    let mut unread: Vec<Conn> = Vec::new();
    Box::new(move |_| {
        if let Ok(mut conn) = Conn::open() {
            let bytes = [b'x'; 65536];
            let _ = (0..1000).try_for_each(|_| conn.0.get_mut().write_all(&bytes));
        }
        if unread.len() < 16 {
            unread.extend(Conn::hello(json!({"asks_only": true, "label": "x".repeat(10_000)})));
        }
        for conn in &mut unread {
            let _ = conn.0.get_mut().set_nonblocking(true);
            let _ = (0..1000).try_for_each(|_| conn.0.get_mut().write_all(b"\"status\"\n"));
        }
    })
}

pub fn garbage() -> Strike {
    Box::new(|_| {
        let nested = [b"{\"hello\":".as_slice(), &[b'['; 10_000], b"\n"].concat();
        let lines: [&[u8]; 7] = [
            b"\0\xff\xfe\n",
            b"GET / HTTP/1.1\n\n",
            &nested,
            b"{\"hello\":{\"protocol\":\"1.0\",\"cap\":-1}}\n",
            b"{\"hello\":{\"protocol\":\"1.0\",\"max_wait_s\":-1e308,\"weight\":0,\"cap\":0,\"lease\":{\"wait\":{\"min\":0,\"max\":0}}}}\n",
            b"{\"hello\":{\"protocol\":\"1.0\",\"lease\":{\"wait\":{\"min\":4294967295,\"max\":1}},\"bound_to\":-1,\"lender\":-2147483648}}\n",
            b"{\"hello\":{\"protocol\":\"1.0\"}}\n{\"hello\":{\"protocol\":\"1.0\"}}\n",
        ];
        for line in lines {
            let Ok(mut conn) = Conn::open() else { continue };
            let _ = conn.0.get_mut().write_all(line);
            let _ = conn.0.get_mut().write_all(
                b"{\"report\":{\"serial\":18446744073709551615,\"held\":4294967295}}\n\"stopped\"\n",
            );
            let _ = conn.0.get_mut().shutdown(std::net::Shutdown::Write);
            let _ = conn.0.read_to_end(&mut Vec::new());
        }
    })
}

pub fn backlog() -> Strike {
    Box::new(|_| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| drop(UnixStream::connect(place("JOBGATE_SOCKET")))));
            }
        });
    })
}

pub fn flood() -> Strike {
    let mut conns: Vec<Conn> = Vec::new();
    Box::new(move |_| {
        if conns.len() < 8 {
            conns.extend(Conn::hello(json!({"lease": "counted"})));
        }
        for (at, conn) in conns.iter_mut().enumerate() {
            let _ = conn.0.get_mut().set_nonblocking(true);
            for serial in 0..200 {
                let held = (serial + at) % 3;
                let _ = conn.say(&json!({"report": {"serial": serial, "held": held, "appetite": "full"}}));
                let _ = conn.say(&json!("status"));
            }
            let _ = conn.0.get_mut().read(&mut [0; 65536]);
        }
    })
}
