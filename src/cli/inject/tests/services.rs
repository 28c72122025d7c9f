//! Services, and what leads past the gate, where several workloads are in the input.

use super::*;

#[test]
fn a_service_is_not_pointed_to_a_gate_that_some_of_its_pods_do_not_have() {
    let text = format!("{}{SERVICE}", workloads(&["chat", "canary"]));
    let refused = noted(&text, &["--only", "Deployment/chat"]).unwrap_err();
    let told = "m.yaml:23: Service/front selects the pods of Deployment/canary too, which have no gate at port 8443";
    assert!(refused.starts_with(told), "{refused}");
    let narrow = text.replace("selector: {app: chat}", "selector: {app: chat, track: chat}");
    let (out, told) = noted(&narrow, &["--only", "Deployment/chat"]).unwrap();
    assert!(out.contains("targetPort: 8443\n") && told.contains("Service/front: port 80 leads to the gate"), "{told}");
    let job = text.replace(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: canary}",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: canary}",
    );
    let refused = noted(&job, &["--only", "Deployment/chat"]).unwrap_err();
    assert!(refused.contains("selects the pods of Job/canary too"), "{refused}");
}

#[test]
fn a_service_of_two_workloads_leads_to_the_gate_while_one_has_it() {
    const BOTH: [&str; 4] = ["--only", "chat", "--only", "canary"];
    let text = format!("{}{SERVICE}", workloads(&["chat", "canary"]));
    let (both, told) = noted(&text, &BOTH).unwrap();
    assert!(!told.contains("no Service") && told.matches("Service/front: port 80 leads").count() == 1, "{told}");
    holds_with(&text, &both, &BOTH);
    for (one, other) in [("Deployment/chat", "Deployment/canary"), ("Deployment/canary", "Deployment/chat")] {
        let (left, told) = back_only(&both, &[one]).unwrap();
        let said = format!(
            "warning: Service/front: still leads to the gate, which the pods of {other} have; it does not reach those of {one} now"
        );
        assert!(told.contains(&said) && left.contains("targetPort: 8443\n"), "{told}\n{left}");
        let (none, told) = back_only(&left, &[other]).unwrap();
        assert!(none == text && told.contains("Service/front: is as it was"), "{told}\n{none}");
        assert_eq!(noted(&left, &["--only", one]).unwrap().0, both, "the gate of {one} again");
    }
    assert_eq!(noted(&both, &["--only", "chat"]).unwrap().0, both, "one of both again");
    let (chat, _) = noted(&text.replace("track: canary", "track: canary, app: none"), &["--only", "chat"]).unwrap();
    let chat = chat.replace("track: canary, app: none", "track: canary");
    let (joined, told) = noted(&chat, &["--only", "canary"]).unwrap();
    assert!(told.contains("Service/front: port 80 leads to the gate already"), "{told}");
    assert_eq!(back(&joined), text);
    let refused = noted(&chat, &["--only", "canary", "--listen-port", "18443"]).unwrap_err();
    assert!(refused.contains("Deployment/chat too, which have no gate at port 18443"), "{refused}");
    let refused = noted(&both, &["--only", "chat", "--listen-port", "18443"]).unwrap_err();
    assert!(refused.contains("Deployment/canary too, which have no gate at port 18443"), "{refused}");
}

fn holds_with(text: &str, gated: &str, options: &[&str]) {
    assert_eq!(back(gated), text);
    assert_eq!(noted(gated, options).unwrap().0, gated, "twice");
}

#[test]
fn a_port_that_leads_to_the_gate_is_found() {
    let by_hand = format!("{}{}", workloads(&["chat"]), SERVICE.replace("targetPort: http", "targetPort: 8443"));
    let (out, told) = noted(&by_hand, &[]).unwrap();
    assert!(told.contains("Service/front: port 80 leads to the gate already") && !told.contains("warning"), "{told}");
    assert_eq!(back(&out), by_hand);
    let (_, told) = noted(&workloads(&["chat"]), &[]).unwrap();
    assert!(told.contains("no Service for port 4003") && told.contains("\"targetPort\":8443}"), "{told}");
}

#[test]
fn a_port_of_a_service_that_was_changed_since_is_not_left_without_a_target() {
    let text = format!("{}{SERVICE}", workloads(&["chat"]));
    let (gate, _) = noted(&text, &[]).unwrap();
    let moved = gate.replace("port: 80\n", "port: 81\n");
    let refused = back_only(&moved, &[]).unwrap_err();
    let line = moved.lines().position(|line| line.contains("port: 81")).unwrap() + 1;
    assert!(
        refused.starts_with(&format!("m.yaml:{line}: Service/front has port 81 in front of the gate")),
        "{refused}"
    );
    let by_hand = moved.replace("targetPort: 8443", "targetPort: http");
    assert_eq!(back_only(&by_hand, &[]).unwrap().0, text.replace("port: 80\n", "port: 81\n"));
    let (others, _) = noted(&text, &["--listen-port", "18443"]).unwrap();
    assert!(others.contains("targetPort: 18443"), "{others}");
    assert_eq!(back(&others), text);
}

#[test]
fn names_of_the_gate_that_another_container_has_are_refused() {
    for name in ["tidegate", "tidegate-admin"] {
        let refused = noted(&workloads(&["chat"]).replace("name: http", &format!("name: {name}")), &[]).unwrap_err();
        let told = format!("container app of Deployment/chat has a port named {name} already");
        assert!(refused.contains(&told), "{refused}");
    }
    assert!(noted(&workloads(&["chat"]).replace("name: http", "name: tidegate-ws"), &[]).is_ok());
}

#[test]
fn the_gate_listens_on_ipv6_where_that_is_said() {
    let (out, _) = noted(&workloads(&["chat"]), &["--ipv6"]).unwrap();
    assert!(out.contains("value: \"[::]:8443\"") && out.contains("value: \"[::]:9464\""), "{out}");
    assert!(noted(&workloads(&["chat"]), &[]).unwrap().0.contains("value: \"0.0.0.0:8443\""));
}

#[test]
fn ways_past_the_gate_are_warned_of() {
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: only}\nspec:\n  \
                  podSelector: {matchLabels: {app: chat}}\n  ingress:\n  - ports: [{port: 4003}]\n";
    let text = format!("{}{SERVICE}{policy}", workloads(&["chat"]));
    let text = text.replace("containerPort: 4003,", "containerPort: 4003, hostPort: 8080,");
    let (_, told) = noted(&text, &[]).unwrap();
    let said =
        "NetworkPolicy/only: lets clients to port 4003 of Deployment/chat and not to the gate; let it name port 8443";
    assert!(
        told.contains(said) && told.contains("port 8080 of each node leads to the service, past the gate"),
        "{told}"
    );
    for (from, to) in [
        ("{port: 4003}", "{port: 4003}, {port: 8443}"),
        ("{port: 4003}", "{port: 4003, endPort: 9000}"),
        ("{port: 4003}", "{port: 5000}"),
        ("- ports: [{port: 4003}]", "- from: []"),
        ("matchLabels: {app: chat}", "matchLabels: {app: other}"),
        ("  ingress:", "  policyTypes: [Egress]\n  ingress:"),
    ] {
        let text = text.replace("hostPort: 8080, ", "").replace(from, to);
        let (_, told) = noted(&text, &[]).unwrap();
        assert!(!told.contains("NetworkPolicy/only") && !told.contains("past the gate"), "{to}: {told}");
    }
    let named = text.replace("{port: 4003}", "{port: http}");
    assert!(noted(&named, &[]).unwrap().1.contains("NetworkPolicy/only"), "by name");
}
