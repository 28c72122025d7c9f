import { useState, type FormEvent } from "react";

/** A real application gets its token from its own server, which knows who is logged in. The demo has one for everybody. */
export function Login({ onToken }: { onToken: (token: string) => void }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");

  const fetchToken = async () => {
    try {
      const response = await fetch("/token");
      if (!response.ok) throw new Error(`it answered ${response.status}`);
      onToken((await response.json()).token);
    } catch (error) {
      setProblem(`No token from the demo: ${error instanceof Error ? error.message : error}. Does it run?`);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token.trim()) onToken(token.trim());
  };

  return (
    <main className="login">
      <h1>Tutor</h1>
      <form onSubmit={submit}>
        <label htmlFor="token">Token</label>
        <textarea id="token" rows={4} value={token} onChange={(event) => setToken(event.target.value)} spellCheck={false} />
        <div className="row">
          <button className="main">Log in</button>
          <button type="button" id="demo-token" onClick={fetchToken}>
            Take one from the demo
          </button>
        </div>
        <p role="alert">{problem}</p>
      </form>
    </main>
  );
}
