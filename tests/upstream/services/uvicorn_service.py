"""python-socketio on uvicorn (ASGI), with the part of a service in conversation.mjs. Prints {"port":N} once it listens."""

import json
import socket

import socketio
import uvicorn

TOKEN = "let-me-in"

sio = socketio.AsyncServer(async_mode="asgi")
left = []


async def send_binary(sid):
    await sio.emit("binary", bytes([0, 255, 30, 10]), to=sid)


async def question_me(sid, about):
    async def answered(answer):
        await sio.emit("answered", answer, to=sid)

    await sio.emit("question", about, to=sid, callback=answered)


async def join(sid, room):
    await sio.enter_room(sid, room)
    return True


async def say(sid, said):
    await sio.emit("said", said["text"], room=said["room"])


async def kick_me(sid):
    await sio.disconnect(sid)


async def who(sid):
    return sid


async def who_left(sid):
    return left


async def echo(sid, value):
    return value


async def disconnect(sid, reason):
    left.append(sid)


def admitted_to(namespace):
    async def connect(sid, environ, auth):
        if (auth or {}).get("token") != TOKEN:
            raise socketio.exceptions.ConnectionRefusedError("not you")
        await sio.emit("welcome", f"to {namespace}", to=sid, namespace=namespace)

    return connect


for namespace in ["/", "/chat"]:
    sio.on("connect", admitted_to(namespace), namespace=namespace)
    sio.on("echo", echo, namespace=namespace)
for event, handler in {
    "send binary": send_binary,
    "question me": question_me,
    "join": join,
    "say": say,
    "kick me": kick_me,
    "who": who,
    "left": who_left,
    "disconnect": disconnect,
}.items():
    sio.on(event, handler)

listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio), log_level="warning")).run(sockets=[listener])
