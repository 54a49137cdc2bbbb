//! Who may reach what: hidden and absent are one answer, and no route is open to who has no grant.

use mcp::{DenialStyle, Era};
use serde_json::{Value, json};

use crate::support::{Setup, Upstream, World, tool};
use crate::{ERAS, POLICY, before, upstream, with};

/// N-043: every route for every caller; those without a grant get no token, or nothing with it.
#[tokio::test]
async fn n_043_no_route_is_open_to_who_has_no_grant() {
    let names = ["crm", "pay", "hr"];
    let mut upstreams = Vec::new();
    for _ in names {
        upstreams.push(upstream(Era::Session).await);
    }
    let routes = names.iter().zip(&upstreams).map(|(name, up)| (*name, up.target())).collect();
    let each = |name: &&str| {
        format!(
            "@id(\"{name}\") permit (principal in Agent::\"{name}-bot\", \
             action in Action::\"tools/call\", resource in Server::\"{name}\");"
        )
    };
    let policy = names.iter().map(each).collect();
    let world = World::new(Setup { policy, routes, ..Setup::default() }).await;
    let mut agents = Vec::new();
    for name in names {
        world.onboard(name, &["*=reads-data"]).await;
        agents.push((name, world.agent(&format!("{name}-bot"), &[&format!("{name}/*")]).await));
    }
    for era in ERAS {
        for (own, agent) in &agents {
            for (server, up) in names.iter().zip(&upstreams) {
                let before = up.seen_of("tools/call").len();
                match agent.token(&world, server, era).await {
                    Ok(mut client) => {
                        assert_eq!(own, server, "a token for a route that is not granted");
                        if era == Era::Session {
                            client.initialize().await;
                        }
                        assert_eq!(client.call("echo", json!({})).await.refused(), None);
                        assert_eq!(up.seen_of("tools/call").len(), before + 1);
                        // The same token on the routes of others.
                        for other in names.iter().filter(|other| *other != own) {
                            client.server = (*other).to_owned();
                            assert_eq!(client.call("echo", json!({})).await.status, 401);
                        }
                    }
                    Err(error) => {
                        assert_ne!(own, server, "no token for the own route: {error}");
                        assert_eq!(up.seen_of("tools/call").len(), before);
                    }
                }
            }
            let absent = agent.token(&world, "absent", era).await.err().expect("no token");
            let hidden = names.iter().find(|name| *name != own).expect("there are three");
            let hidden = agent.token(&world, hidden, era).await.err().expect("no token");
            assert_eq!(absent.code, hidden.code, "absent and not yours are the same answer");
        }
    }
}

#[tokio::test]
async fn n_044_a_hidden_tool_that_is_called_is_as_if_absent_and_recorded() {
    for era in ERAS {
        for style in [DenialStyle::Result, DenialStyle::JsonRpc] {
            let up = Upstream::start(era, vec![tool("echo"), tool("pay"), tool("late")]).await;
            let hide = r#"@id("hide") forbid (principal, action == Action::"up/pay", resource);"#;
            let setup = Setup {
                policy: format!("{POLICY} {hide}"),
                routes: vec![("up", up.target())],
                denials: style,
                ..Setup::default()
            };
            let (world, bot) = with(setup).await;
            // A tool that appears later was never approved.
            up.list(vec![vec![tool("echo"), tool("pay"), tool("late"), tool("new")]]);
            let client = bot.connected(&world, "up", era).await;
            assert_eq!(client.tools().await, ["echo", "late"]);
            let before = world.records().await.len();
            let hidden = client.call("pay", json!({ "amount": 1 })).await;
            let absent = client.call("no-such", json!({ "amount": 1 })).await;
            let new = client.call("new", json!({})).await;
            assert_eq!(hidden.text, absent.text);
            assert_eq!(hidden.text, new.text);
            assert_eq!((hidden.status, absent.status, new.status), (200, 200, 200));
            assert_eq!(hidden.headers, absent.headers);
            assert_eq!(hidden.refused().as_deref(), Some("unknown_tool"));
            world.refusal("unknown_tool").await;
            assert_eq!(world.decisions("up/pay", "deny").await, 1);
            assert!(world.records().await.len() >= before + 2);
            assert!(up.seen_of("tools/call").is_empty());
        }
    }
}

/// What is not declared of an agent counts by its name, whether there is such a tool or not; what is declared does
/// not, though it is hidden, or there is none.
#[tokio::test]
async fn r_48_tools_that_are_not_declared_count_by_their_names_alone() {
    for era in ERAS {
        let up = Upstream::start(era, vec![tool("echo"), tool("pay")]).await;
        let hide = r#"@id("hide") forbid (principal, action == Action::"up/pay", resource);"#;
        let policy = format!("{POLICY} {hide}");
        let setup = Setup { policy, routes: vec![("up", up.target())], ..Setup::default() };
        let (world, bot) = with(setup).await;
        let narrow = world.agent("narrow", &["up/echo"]).await;
        let signals = || async {
            let records = world.records().await;
            records.iter().filter(|record| record["signal"] == "departed_tool").count()
        };
        let asked =
            [(&narrow, "pay", 1), (&narrow, "none", 1), (&bot, "pay", 0), (&bot, "none", 0)];
        for (agent, name, raised) in asked {
            let client = agent.connected(&world, "up", era).await;
            let before = signals().await;
            for raised in [0, 0, raised] {
                let answer = client.call(name, json!({ "amount": 1 })).await;
                assert_eq!(answer.refused().as_deref(), Some("unknown_tool"), "{name}");
                assert_eq!(signals().await, before + raised, "{name}");
            }
        }
    }
}

/// N-056: a forbid for the whole server covers whatever is asked of it.
#[tokio::test]
async fn n_056_a_forbid_on_a_server_covers_every_method() {
    let forbid = r#"
@id("shut") forbid (principal is Instance, action, resource in Server::"up")
unless { action == Action::"initialize" || action == Action::"server/discover" ||
         action == Action::"token/issue" };"#;
    for era in ERAS {
        let up = upstream(era).await;
        let (world, bot) = before(&up, forbid).await;
        let client = bot.connected(&world, "up", era).await;
        let before = up.seen().len();
        for (method, params) in [
            ("tools/list", json!({})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("resources/read", json!({ "uri": "file:///a" })),
            ("prompts/list", json!({})),
            ("prompts/get", json!({ "name": "p" })),
            ("completion/complete", json!({ "ref": {} })),
        ] {
            let answer = client.ask(method, params).await;
            assert_eq!(answer.error(), Some(-32_001), "{method}: {answer:?}");
            assert_eq!(answer.json()["error"]["data"]["policies"], json!(["shut"]), "{method}");
            assert_eq!(world.decisions(method, "deny").await, 1, "{method}");
        }
        assert_eq!(up.seen().len(), before, "nothing reached the server");
        assert_eq!(client.call("echo", json!({})).await.refused().as_deref(), Some("unknown_tool"));
        assert!(up.seen_of("tools/call").is_empty());
    }
}

/// N-053, N-054, N-057: a name is compared byte for byte, and nothing in it is syntax.
#[tokio::test]
async fn n_057_no_spelling_of_a_name_reaches_another_tool() {
    let tools = ["echo", "a:b", "x__echo", "pay"].map(tool).to_vec();
    let up = Upstream::start(Era::Session, tools).await;
    let (world, bot) = before(&up, "").await;
    let client = bot.connected(&world, "up", Era::Session).await;
    for name in [
        "up/echo",
        "up__echo",
        "up:echo",
        "up.echo",
        "../echo",
        "up/../echo",
        "echo/",
        "/echo",
        "ECHO",
        "Echo",
        "echo ",
        " echo",
        "echo\u{0}",
        "echo.",
        "echo\n",
        "ech\u{3bf}",
        "е\u{63}ho",
        "\u{ff45}cho",
        "e\u{200b}cho",
        "ec\u{301}ho",
        "*",
        "",
        "root",
        "admin",
        "__proto__",
        "a",
        "a:",
        "b",
        "x__",
        "echo%20",
        "%65cho",
        "\"echo\"",
        "Action::\"up/echo\"",
    ] {
        let answer = client.call(name, json!({})).await;
        let code = answer.refused().or_else(|| answer.error().map(|code| code.to_string()));
        assert!(
            matches!(code.as_deref(), Some("unknown_tool" | "-32602")),
            "{name:?} was answered {answer:?}"
        );
    }
    assert!(up.seen_of("tools/call").is_empty());
    for name in ["echo", "a:b", "x__echo"] {
        assert_eq!(client.call(name, json!({})).await.refused(), None, "{name}");
    }
    let told: Vec<_> =
        up.seen_of("tools/call").iter().map(|s| s.json()["params"].clone()).collect();
    let names: Vec<_> = told.iter().map(|params| params["name"].clone()).collect();
    assert_eq!(names, [json!("echo"), json!("a:b"), json!("x__echo")]);
}

/// N-059: what is decided on is the URI as it stands there, and that is what the server gets.
#[tokio::test]
async fn n_059_resource_uris_are_compared_and_sent_byte_for_byte() {
    let forbid = r#"
@id("not-this") forbid (principal, action == Action::"resources/read",
  resource == Resource::"up/file:///etc/passwd");"#;
    for era in ERAS {
        let up = upstream(Era::Session).await;
        let (world, bot) = before(&up, forbid).await;
        let client = bot.connected(&world, "up", era).await;
        let denied = client.ask("resources/read", json!({ "uri": "file:///etc/passwd" })).await;
        assert_eq!(denied.error(), Some(-32_001), "{denied:?}");
        let uris = [
            "file:///etc//passwd",
            "file:///etc/%70asswd",
            "file:///etc/%2e%2e/passwd",
            "file:///a%2Fb",
            "file:///a%252Fb",
            "file:\\\\\\etc\\passwd",
            "http://user@host/a",
            "http://host:80/",
            "http://b\u{fc}cher.example/",
            "FILE:///etc/passwd",
            "file:/x",
            "file://localhost/etc/passwd",
            "a?b=c#d",
            " leading",
            "\"quoted\"",
        ];
        for uri in uris {
            let answer = client.ask("resources/read", json!({ "uri": uri })).await;
            assert_eq!(answer.error(), None, "{uri}: {answer:?}");
        }
        let seen = up.seen_of("resources/read");
        let sent: Vec<Value> = seen.iter().map(|s| s.json()["params"]["uri"].clone()).collect();
        assert_eq!(sent, uris.map(Value::from));
    }
}
