//! One user with tokens of two tenants, in two namespaces of one connection.

use super::Nodes;
use crate::support::{
    json,
    token::{SECRET, now, signed},
};

const TENANTS: &str = r#"
[[room]]
namespace = "/"
name = "tenant:{claims.tenant}"
[[room]]
namespace = "/chat"
name = "tenant:{claims.tenant}"
"#;

#[tokio::test]
async fn what_is_said_to_a_tenant_is_heard_in_the_namespace_of_its_token_alone() {
    let nodes = Nodes::with(TENANTS).await;
    let token = |tenant: &str, lives: u64| json!({ "token": signed(&json!({ "sub": "ada", "tenant": tenant, "exp": now() + lives }), SECRET) });
    for (north_lives, south_lives) in [(600, 900), (900, 600)] {
        let north = nodes.a.connect(token("north", north_lives)).await;
        north.connected().await;
        let south = north.namespace("/chat", token("south", south_lives)).await;
        south.connected().await;
        for (namespace, client, tenant, other) in [("/", &north, "north", "south"), ("/chat", &south, "south", "north")]
        {
            let said = |room: &str| nodes.emitter.of(namespace).to(&format!("tenant:{room}"));
            said(other).emit("news", json!([other])).await;
            said(tenant).emit("news", json!([tenant])).await;
            assert_eq!(client.next("news").await, json!([tenant]));
            assert_eq!(client.untaken("news"), 0);
        }
        north.disconnect().await;
    }
}
