//! `/drained`: who waits until the last client has left, and how many may.

use std::collections::VecDeque;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{CONNECTIONS_MAX, Operator, PATIENCE, status};

#[tokio::test]
async fn drained_is_answered_when_the_last_client_has_left() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    let ask = |request: &str| {
        let (address, request) = (operator.address, format!("{request}\r\n\r\n"));
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }
    };
    let mut early = ask("GET /drained HTTP/1.1\r\nHost: 10.1.2.3:9464").await;
    operator.health.set_draining("it leaves");
    let mut late = ask("HEAD /drained HTTP/1.1\r\nHost: rebind.example").await;
    // Short answers are given meanwhile, and connections that ask nothing do not push them out.
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX * 2 {
        idle.push(TcpStream::connect(operator.address).await.unwrap());
    }
    assert_eq!(status(&operator.get("/livez").await), 200);
    for stream in [&early, &late] {
        let nothing = stream.try_read(&mut [0; 64]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "its clients are there still");
    }

    assert!(operator.health.set_drained("it is drained"), "somebody waits");

    for stream in [&mut early, &mut late] {
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(status(&answer), 200);
    }
    let again = operator.get("/drained").await;
    assert!(status(&again) == 200 && again.ends_with("drained\n"), "{again}");
    assert!(operator.get("/readyz").await.contains("\"why\":\"it is drained\""));
}

#[tokio::test]
async fn where_nobody_has_asked_it_to_leave_drained_says_so_and_only_some_wait() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    let asked = || operator.get("/drained");
    // A quarter of the connections may wait.
    assert_eq!(CONNECTIONS_MAX / 4, 2);
    let (one, two, three) = tokio::join!(asked(), asked(), asked());
    let (full, waited): (Vec<_>, Vec<_>) =
        [one, two, three].into_iter().partition(|answer| answer.contains("\"code\":\"waiters\""));
    assert!(full.len() == 1 && status(&full[0]) == 503 && full[0].contains("retry-after: 1\r\n"), "{full:?}");
    for answer in &waited {
        assert!(status(answer) == 503 && answer.contains("\"code\":\"not_leaving\""), "{answer}");
        assert!(answer.contains("Nobody has asked this node to leave for 10 s: run `tidegate drain`"), "{answer}");
    }
    operator.health.set_drained("it is drained");
    assert_eq!(status(&asked().await), 200, "they have made room");
}

#[tokio::test]
async fn nobody_keeps_the_hook_of_the_service_from_waiting() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    let ask = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(operator.address).await.unwrap();
        stream.write_all(b"GET /drained HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream
    };
    let told = async |mut stream: TcpStream| {
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let (stranger, hook) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut strangers = VecDeque::new();
    for _ in 0..CONNECTIONS_MAX / 4 {
        strangers.push_back(ask(stranger).await);
    }
    let hook = ask(hook).await;
    for leaves in [false, true] {
        if leaves {
            operator.health.set_draining("it leaves");
        }
        for _ in 0..CONNECTIONS_MAX {
            strangers.push_back(ask(stranger).await);
            let answer = told(strangers.pop_front().unwrap()).await;
            assert!(status(&answer) == 503 && answer.contains("\"code\":\"waiters\""), "{answer}");
        }
    }
    operator.health.set_drained("it is drained");
    assert_eq!(status(&told(hook).await), 200);
}
