import { useState } from "react";
import { Login } from "./Login";
import { OverSocketIo } from "./OverSocketIo";
import { OverWebSocket } from "./OverWebSocket";

const WAYS = { "socket.io": "Socket.IO client", websocket: "plain WebSocket" };
type Way = keyof typeof WAYS;

export function App() {
  const [token, setToken] = useState(() => sessionStorage.getItem("token"));
  const [way, setWay] = useState<Way>(() => (location.hash === "#websocket" ? "websocket" : "socket.io"));

  const login = (next: string | null) => {
    if (next) sessionStorage.setItem("token", next);
    else sessionStorage.removeItem("token");
    setToken(next);
  };
  const choose = (next: Way) => {
    location.hash = next;
    setWay(next);
  };

  if (!token) return <Login onToken={login} />;
  return (
    <>
      <nav aria-label="How this page connects">
        {Object.entries(WAYS).map(([each, name]) => (
          <button key={each} aria-pressed={each === way} onClick={() => choose(each as Way)}>
            {name}
          </button>
        ))}
        <button className="quiet" onClick={() => login(null)}>
          Log out
        </button>
      </nav>
      {way === "socket.io" ? <OverSocketIo token={token} /> : <OverWebSocket token={token} />}
    </>
  );
}
