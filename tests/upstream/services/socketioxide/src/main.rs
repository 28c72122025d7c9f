//! socketioxide on axum, with the part of a service in conversation.mjs. Prints {"port":N} once it listens.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, State, TryData},
    handler::ConnectHandler,
};

const TOKEN: &str = "let-me-in";

/// The ids of those who have left.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Vec<String>>>);

struct NotYou;

impl fmt::Display for NotYou {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not you")
    }
}

async fn admitted(TryData(auth): TryData<Value>) -> Result<(), NotYou> {
    match auth {
        Ok(auth) if auth["token"] == TOKEN => Ok(()),
        _ => Err(NotYou),
    }
}

async fn echo(Data(value): Data<rmpv::Value>, ack: AckSender) {
    ack.send(&value).ok();
}

async fn chat(socket: SocketRef) {
    socket.emit("welcome", "to /chat").ok();
    socket.on("echo", echo);
}

async fn root(socket: SocketRef) {
    socket.emit("welcome", "to /").ok();
    socket.on("echo", echo);
    socket.on("send binary", async |socket: SocketRef| {
        socket.emit("binary", &bytes::Bytes::from_static(&[0, 255, 30, 10])).ok();
    });
    socket.on("question me", async |socket: SocketRef, Data(about): Data<Value>| {
        let answer: Value = socket.emit_with_ack("question", &about).unwrap().await.unwrap();
        socket.emit("answered", &answer).ok();
    });
    socket.on("join", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.join(room);
        ack.send(&true).ok();
    });
    socket.on("say", async |io: SocketIo, Data(said): Data<Value>| {
        match said["room"].as_str() {
            Some(room) => io.to(room.to_owned()).emit("said", &said["text"]).await.ok(),
            None => io.emit("said", &said["text"]).await.ok(),
        };
    });
    socket.on("kick me", async |socket: SocketRef| {
        socket.disconnect().ok();
    });
    socket.on("who", async |socket: SocketRef, ack: AckSender| {
        ack.send(&socket.id.to_string()).ok();
    });
    socket.on("left", async |State(Left(left)): State<Left>, ack: AckSender| {
        let left = Value::from(left.lock().unwrap().clone());
        ack.send(&left).ok();
    });
    socket.on_disconnect(async |socket: SocketRef, State(Left(left)): State<Left>| {
        left.lock().unwrap().push(socket.id.to_string());
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (layer, io) = SocketIo::builder().with_state(Left::default()).build_layer();
    io.ns("/", root.with(admitted));
    io.ns("/chat", chat.with(admitted));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{{\"port\":{}}}", listener.local_addr().unwrap().port());
    axum::serve(listener, axum::Router::new().layer(layer)).await.unwrap();
}
