"""The demo conversation, held by python-socketio: `python python_client.py URL TOKEN [polling|websocket]`.

Without a transport it is the client's own choice: polling, then the upgrade. Prints a JSON object a line, one for each
step, in order.
"""

import base64
import json
import queue
import sys

import socketio

PATIENCE_S = 40
LARGE_CHARACTERS = 900_000

url, token, *transports = sys.argv[1:]
client = socketio.Client(reconnection=False)
heard = queue.Queue()


def show(value):
    return {"$binary": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def say(step, result):
    print(json.dumps({"step": step, "result": show(result)}), flush=True)


def ask(event, data, namespace="/"):
    return client.call(event, data, namespace=namespace, timeout=PATIENCE_S)


client.on("connection:quality", lambda data: heard.put(data))
client.on("question", lambda question: {"python": question})
client.on("said", lambda text: heard.put(text), namespace="/chat")

client.connect(
    url,
    auth={"token": token, "learnerId": "ada-1"},
    transports=transports or None,
    namespaces=["/", "/chat"],
    wait_timeout=PATIENCE_S,
)
say("transport", client.transport())
say("learning", ask("agent:learning", {"action": "process_answer", "answer": "42"}))
say("speech", ask("agent:speech", {"audioBuffer": bytes(range(5))}))
say("quality", heard.get(timeout=PATIENCE_S))
say("binary", ask("echo", bytes([0, 255, 30, 10])))
say("asked", ask("ask", {"about": "mood"}))
say("chat", ask("say", "déjà vu 🌊", namespace="/chat"))
say("said", heard.get(timeout=PATIENCE_S))
say("large", len(ask("echo", "x" * LARGE_CHARACTERS)))
client.disconnect()
