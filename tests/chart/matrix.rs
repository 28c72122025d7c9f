//! Releases in which each choice of an operator meets each other choice at least once.

use std::collections::BTreeSet;

use crate::helm::{NEWEST, OLDEST, Release, ci_values};

/// What is set, as JSON. The first choice of each axis has to go with every choice of the others.
type Choice = (&'static str, &'static [(&'static str, &'static str)]);

const MODES: &[Choice] = &[
    ("gateway", &[("mode", r#""gateway""#), ("upstream.service.name", r#""svc""#), ("upstream.service.port", "4003")]),
    ("sidecar", &[("app.image", r#""registry.example.com/chat:1""#)]),
    ("classic", &[("app.image", r#""registry.example.com/chat:1""#), ("nativeSidecar", "false")]),
    ("gateway-url", &[("mode", r#""gateway""#), ("upstream.url", r#""https://chat.internal""#)]),
    (
        "gateway-policy",
        &[
            ("mode", r#""gateway""#),
            ("upstream.service.name", r#""svc""#),
            ("upstream.service.namespace", r#""elsewhere""#),
            ("upstream.podSelector", r#"{"app": "svc"}"#),
            ("upstream.allowFrom", r#"[{"podSelector": {}}]"#),
        ],
    ),
    (
        "sidecar-full",
        &[
            ("app.image", r#""registry.example.com/chat:1""#),
            ("app.port", "3000"),
            ("app.listenEnv", r#""HOST""#),
            ("app.env", r#"[{"name": "LEVEL", "value": "debug"}]"#),
            ("app.readinessProbe", r#"{"exec": {"command": ["true"]}}"#),
            ("app.resources", r#"{"limits": {"memory": "1Gi"}}"#),
            ("app.command", r#"["node"]"#),
            ("app.args", r#"["server.js"]"#),
            ("leaving.appStop", "25"),
        ],
    ),
];
const TLS: &[Choice] = &[
    ("plain", &[]),
    ("secret", &[("tls.secretName", r#""chat-tls""#)]),
    (
        "certmanager",
        &[
            ("tls.certManager.enabled", "true"),
            ("tls.certManager.issuerRef.name", r#""letsencrypt""#),
            ("tls.certManager.dnsNames", r#"["chat.example.com"]"#),
        ],
    ),
    ("acme", &[("tls.acme.enabled", "true"), ("tls.acme.domains", r#"["chat.example.com"]"#)]),
    (
        "acme-lost",
        &[
            ("tls.acme.enabled", "true"),
            ("tls.acme.domains", r#"["chat.example.com"]"#),
            ("tls.acme.persistence.enabled", "false"),
        ],
    ),
    (
        "acme-claim",
        &[
            ("tls.acme.enabled", "true"),
            ("tls.acme.domains", r#"["chat.example.com", "talk.example.com"]"#),
            ("tls.acme.contact", r#"["mailto:ops@example.com"]"#),
            ("tls.acme.persistence.existingClaim", r#""kept""#),
        ],
    ),
    (
        "acme-redis",
        &[
            ("tls.acme.enabled", "true"),
            ("tls.acme.domains", r#"["chat.example.com"]"#),
            ("tls.acme.cache", r#""redis""#),
            ("cluster.secret.name", r#""chat-cluster""#),
        ],
    ),
];
const REDIS: &[Choice] = &[
    ("redis", &[("redis.url", r#""redis://redis:6379""#)]),
    ("alone", &[]),
    (
        "redis-password",
        &[
            ("redis.url", r#""rediss://redis:6379/2""#),
            ("redis.username", r#""tidegate""#),
            ("redis.passwordSecret.name", r#""chat-redis""#),
            ("cluster.name", r#""chats""#),
        ],
    ),
    ("redis-secret", &[("redis.urlSecret.name", r#""chat-redis""#), ("cluster.secret.name", r#""chat-cluster""#)]),
];
const PODS: &[Choice] = &[
    ("one", &[]),
    ("three", &[("replicas", "3"), ("podDisruptionBudget.enabled", "true"), ("topologySpread.enabled", "true")]),
    ("scaled", &[("autoscaling.enabled", "true"), ("podDisruptionBudget.maxUnavailable", r#""20%""#)]),
];
const MONITORING: &[Choice] = &[
    ("unseen", &[]),
    ("annotated", &[("monitoring.scrapeAnnotations", "true"), ("admin.tokenSecret.name", r#""chat-admin""#)]),
    (
        "operator",
        &[
            ("monitoring.podMonitor.enabled", "true"),
            ("monitoring.podMonitor.labels", r#"{"release": "prometheus"}"#),
            ("monitoring.rules.enabled", "true"),
            ("monitoring.rules.labels", r#"{"release": "prometheus"}"#),
            ("monitoring.dashboard.enabled", "true"),
        ],
    ),
    ("service-monitor", &[("monitoring.serviceMonitor.enabled", "true")]),
];
const EDGE: &[Choice] = &[
    ("inside", &[]),
    (
        "ingress",
        &[
            ("ingress.enabled", "true"),
            ("ingress.host", r#""chat.example.com""#),
            ("ingress.className", r#""nginx""#),
            ("ingress.tlsSecretName", r#""ingress-tls""#),
            ("trustedProxies", r#"["10.0.0.0/8"]"#),
        ],
    ),
    (
        "balancer",
        &[
            ("service.type", r#""LoadBalancer""#),
            ("service.externalTrafficPolicy", r#""Local""#),
            ("service.loadBalancerSourceRanges", r#"["192.0.2.0/24"]"#),
            ("service.nodePort", "30443"),
            ("service.port", "8000"),
            ("networkPolicy.from", r#"[{"ipBlock": {"cidr": "192.0.2.0/24"}}]"#),
        ],
    ),
    ("open", &[("networkPolicy.enabled", "false"), ("origins", r#"["https://app.example.com"]"#)]),
];
const POD: &[Choice] = &[
    ("bare", &[]),
    (
        "dressed",
        &[
            ("commonLabels", r#"{"team": "chat"}"#),
            ("podLabels", r#"{"tier": "edge"}"#),
            ("podAnnotations", r#"{"example.com/note": "kept"}"#),
            ("nodeSelector", r#"{"kubernetes.io/arch": "amd64"}"#),
            ("tolerations", r#"[{"key": "edge", "operator": "Exists"}]"#),
            ("imagePullSecrets", r#"[{"name": "registry"}]"#),
            ("priorityClassName", r#""high""#),
            ("image.digest", r#""sha256:0000000000000000000000000000000000000000000000000000000000000000""#),
            ("restartOnConfigChange", "true"),
            ("checkBeforeUpgrade", "true"),
            ("ipv6", "true"),
        ],
    ),
    (
        "crowded",
        &[
            ("initContainers", r#"[{"name": "migrate", "image": "registry.example.com/chat:1"}]"#),
            ("extraContainers", r#"[{"name": "logs", "image": "registry.example.com/logs:1"}]"#),
            ("extraVolumes", r#"[{"name": "scratch", "emptyDir": {}}]"#),
            ("extraVolumeMounts", r#"[{"name": "scratch", "mountPath": "/scratch"}]"#),
            ("extraEnv", r#"[{"name": "TIDEGATE__LOG__LEVEL", "value": "debug"}]"#),
            ("serviceAccount.create", "false"),
            ("existingConfigMap", r#""my-config""#),
            ("fullnameOverride", r#""gate""#),
            ("leaving.lameDuck", "0"),
            ("leaving.shutdownGrace", "3600"),
        ],
    ),
];
const AXES: &[&[Choice]] = &[MODES, TLS, REDIS, PODS, MONITORING, EDGE, POD];
/// What every release needs.
const ALWAYS: Choice = ("", &[("auth.secretName", r#""chat-auth""#)]);

/// Choices that the chart refuses together, each for a reason that its message says.
const REFUSED: &[(&str, &str)] = &[
    ("service-monitor", "sidecar"),
    ("service-monitor", "sidecar-full"),
    ("acme", "three"),
    ("acme", "scaled"),
    ("acme-lost", "three"),
    ("acme-lost", "scaled"),
    ("acme-claim", "three"),
    ("acme-claim", "scaled"),
    ("acme-redis", "alone"),
];

/// One choice of each axis, by its place in the axis.
type Row = [usize; AXES.len()];
/// An axis, and a choice of it.
type Chosen = (usize, usize);

fn are_refused(a: Chosen, b: Chosen) -> bool {
    let [a, b] = [a, b].map(|(axis, at)| AXES[axis][at].0);
    REFUSED.iter().any(|pair| *pair == (a, b) || *pair == (b, a))
}

/// The pairs of choices that are allowed.
fn pairs() -> BTreeSet<(Chosen, Chosen)> {
    let choices = |axis: usize| (0..AXES[axis].len()).map(move |at| (axis, at));
    (0..AXES.len())
        .flat_map(|a| (a + 1..AXES.len()).map(move |b| (a, b)))
        .flat_map(|(a, b)| choices(a).flat_map(move |a| choices(b).map(move |b| (a, b))))
        .filter(|(a, b)| !are_refused(*a, *b))
        .collect()
}

/// The pairs of a choice with each of those that are chosen.
fn with(chosen: &[Chosen], one: Chosen) -> impl Iterator<Item = (Chosen, Chosen)> {
    chosen.iter().map(move |other| if *other < one { (*other, one) } else { (one, *other) })
}

/// Rows in which each pair stands once at least. Each begins with a pair that is missing, and takes from each other axis what
/// adds most.
fn covering() -> Vec<Row> {
    let mut missing = pairs();
    let mut rows = Vec::new();
    while let Some((a, b)) = missing.first().copied() {
        let mut chosen = vec![a, b];
        for axis in (0..AXES.len()).filter(|axis| ![a.0, b.0].contains(axis)) {
            let choices = (0..AXES[axis].len()).map(|at| (axis, at));
            let allowed = choices.filter(|one| !chosen.iter().any(|other| are_refused(*one, *other)));
            let new = |one: &Chosen| with(&chosen, *one).filter(|pair| missing.contains(pair)).count();
            let best = allowed.max_by_key(new).expect("the first choice goes with every other");
            chosen.push(best);
        }
        chosen.sort_unstable();
        for (at, one) in chosen.iter().enumerate() {
            with(&chosen[..at], *one).for_each(|pair| {
                missing.remove(&pair);
            });
        }
        rows.push(std::array::from_fn(|axis| chosen[axis].1));
    }
    rows
}

fn release(row: &Row) -> Release {
    let choices: Vec<&Choice> = AXES.iter().zip(row).map(|(axis, at)| &axis[*at]).collect();
    let case = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    // A native sidecar needs the newer ones; everything else is rendered for the oldest.
    let native = ["sidecar", "sidecar-full"].contains(&MODES[row[0]].0);
    let sets = [&ALWAYS].into_iter().chain(choices).flat_map(|(_, sets)| *sets);
    sets.fold(Release::new(&case).on(if native { NEWEST } else { OLDEST }), |all, (path, json)| all.set(path, json))
}

/// Every pair of choices, and every values file of `ci/`.
pub(crate) fn releases() -> Vec<Release> {
    ci_values().iter().map(|name| Release::ci(name)).chain(covering().iter().map(release)).collect()
}

/// The pairs that the chart refuses, each beside the first choices of all other axes, which go with everything.
pub(crate) fn refused_pairs() -> Vec<Release> {
    let place = |wanted: &str| {
        let find = |axis: &&[Choice]| axis.iter().position(|(name, _)| *name == wanted);
        AXES.iter().enumerate().find_map(|(place, axis)| Some((place, find(axis)?))).expect("the choice exists")
    };
    let row = |(a, b): &(&str, &str)| {
        let mut row: Row = [0; AXES.len()];
        for (axis, at) in [place(a), place(b)] {
            row[axis] = at;
        }
        release(&row)
    };
    REFUSED.iter().map(row).collect()
}

#[test]
fn the_matrix_has_each_pair_of_choices_that_is_allowed() {
    let rows = covering();
    let has = |row: &Row, one: &Chosen| row[one.0] == one.1;
    assert!(pairs().iter().all(|(a, b)| rows.iter().any(|row| has(row, a) && has(row, b))));
    assert!(rows.len() >= 40, "{} releases", rows.len());
}
