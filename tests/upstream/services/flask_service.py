"""Flask-SocketIO on threads, with the part of a service in conversation.mjs. Prints {"port":N} once it listens."""

import json
import logging

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO, disconnect, emit, join_room
from werkzeug.serving import make_server

TOKEN = "let-me-in"

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = Flask(__name__)
sio = SocketIO(app, async_mode="threading")
left = []


def admitted_to(namespace):
    def connect(auth):
        if (auth or {}).get("token") != TOKEN:
            raise ConnectionRefusedError("not you")
        emit("welcome", f"to {namespace}")

    return connect


for namespace in ["/", "/chat"]:
    sio.on_event("connect", admitted_to(namespace), namespace=namespace)
    sio.on_event("echo", lambda value: value, namespace=namespace)


@sio.on("send binary")
def send_binary():
    emit("binary", bytes([0, 255, 30, 10]))


@sio.on("question me")
def question_me(about):
    to = request.sid
    emit("question", about, callback=lambda answer: sio.emit("answered", answer, to=to))


@sio.on("join")
def join(room):
    join_room(room)
    return True


@sio.on("say")
def say(said):
    sio.emit("said", said["text"], to=said["room"])


@sio.on("kick me")
def kick_me():
    disconnect()


@sio.on("who")
def who():
    return request.sid


@sio.on("left")
def who_left():
    return left


@sio.on("disconnect")
def gone(reason):
    left.append(request.sid)


server = make_server("127.0.0.1", 0, app, threaded=True)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
