//! Tokens of common issuers, with the configurations that docs/tokens.md has for them.

use tokio::io::AsyncReadExt;

use crate::support::{
    Gate, Service, Value,
    issuer::Issuer,
    json, node, soon,
    tidegate::Setup,
    token::{SECRET, now},
};

const PAGE: &str = include_str!("../../docs/tokens.md");

/// The blocks of this language in a section of the page.
fn blocks(heading: &str, language: &str) -> Vec<&'static str> {
    let section = PAGE.split_once(&format!("\n## {heading}\n")).expect("the page has this section").1;
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("\n```{language}\n");
    section.split(&begin).skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// A gate with the configuration of a section.
fn as_written(service: &Service, heading: &str) -> Setup {
    let [toml] = blocks(heading, "toml")[..] else { panic!("{heading} has one block of TOML") };
    let keys = toml.strip_prefix("[auth]\n").expect("it is the table of tokens");
    let keys: String = keys.lines().map(|line| format!("auth.{line}\n")).collect();
    Gate::before(service).without("auth.secret").with(&keys)
}

/// The gate refuses the token, and the log has a reason that the table of the page lists.
async fn refuses(gate: &Gate, token: &str, why: &str) {
    assert!(PAGE.contains(&format!("\n| `{why}` |")), "the page does not list {why}");
    let client = gate.connect(json!({ "token": token })).await;
    assert_eq!(client.refused().await["data"]["code"], "auth.invalid", "{why}");
    gate.log().wait(&["namespace refused", why]).await;
}

#[tokio::test]
async fn the_route_for_nextauth_signs_tokens_that_the_gate_takes() {
    let [route, fresh] = blocks("NextAuth and Auth.js", "js")[..] else { panic!("a route and its caller") };
    let mut child =
        node::start("socket_token.mjs", &[route.to_owned(), fresh.to_owned()], &[("NEXTAUTH_SECRET", SECRET)]);
    let mut printed = String::new();
    soon("the tokens", child.stdout.take().unwrap().read_to_string(&mut printed)).await.unwrap();
    let printed: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(printed["signedOut"], 401);

    let service = Service::without_auth().await;
    let gate = as_written(&service, "NextAuth and Auth.js").await;
    gate.client(printed["token"].as_str().unwrap().to_owned()).await;
    let why =
        "it has five parts: it is encrypted, as NextAuth's own session tokens are; sign a token for the gate instead";
    refuses(&gate, printed["encrypted"].as_str().unwrap(), why).await;
}

/// The issuer's token with these claims beside the times is taken, and with this audience instead refused.
async fn takes_the_audience_alone(heading: &str, claims: Value, other_audience: Value) {
    let (service, issuer) = tokio::join!(Service::without_auth(), Issuer::start());
    issuer.add_key("RS256", "4f1c2b").await;
    let gate = as_written(&service, heading).with(&format!("auth.jwks_url = \"{}\"", issuer.jwks_url())).await;
    let signed = async |mut claims: Value| {
        claims["iat"] = json!(now());
        claims["exp"] = json!(now() + 3600);
        issuer.sign("4f1c2b", &claims).await
    };

    gate.client(signed(claims.clone()).await).await;
    let mut others = claims;
    others["aud"] = other_audience;
    refuses(&gate, &signed(others).await, "its aud does not name auth.audience").await;
    assert_eq!(service.transports().await, 1, "{heading}");
}

/// As "Access Token Profiles" of Auth0's manual has them; the second audience is there with the scope `openid`.
#[tokio::test]
async fn an_access_token_of_auth0_is_taken() {
    let user_info = "https://TENANT.eu.auth0.com/userinfo";
    let claims = json!({
        "iss": "https://TENANT.eu.auth0.com/",
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://api.example.com", user_info],
        "azp": "mJq0Vb3fTn9tHcQ2",
        "scope": "openid profile email",
    });
    takes_the_audience_alone("Auth0", claims.clone(), json!(["https://other.example.com", user_info])).await;
    let one = json!({ "aud": "https://api.example.com", "iss": claims["iss"], "sub": claims["sub"] });
    takes_the_audience_alone("Auth0", one, json!("https://other.example.com")).await;
}

#[tokio::test]
async fn an_access_token_of_keycloak_is_taken() {
    let claims = json!({
        "iss": "https://id.example.com/realms/REALM",
        "sub": "8d3b0a5e-3a3f-4a0e-9d0b-0c6f5a3f9b1d",
        "aud": "account",
        "typ": "Bearer",
        "azp": "web",
        "jti": "onrtac:1b3c7b0e-6a5f-4d7d-b7d2-7f2a2f1b9c55",
        "auth_time": now(),
        "sid": "3b7ac0f1-41c6-4c4b-8f65-5f0b7e0f5f02",
        "acr": "1",
        "allowed-origins": ["https://www.example.com"],
        "realm_access": { "roles": ["offline_access", "uma_authorization"] },
        "resource_access": { "account": { "roles": ["manage-account", "view-profile"] } },
        "scope": "openid profile email",
        "email_verified": true,
        "preferred_username": "ada",
    });
    takes_the_audience_alone("Keycloak", claims, json!("other")).await;
}

#[tokio::test]
async fn an_id_token_of_firebase_is_taken() {
    let user = "Q8mWn2ZkqTfXv0sYb7Lr3EoUjP12";
    let claims = json!({
        "iss": "https://securetoken.google.com/PROJECT",
        "aud": "PROJECT",
        "auth_time": now(),
        "user_id": user,
        "sub": user,
        "email": "ada@example.com",
        "email_verified": true,
        "firebase": { "identities": { "email": ["ada@example.com"] }, "sign_in_provider": "password" },
    });
    takes_the_audience_alone("Firebase", claims, json!("OTHER")).await;
}
