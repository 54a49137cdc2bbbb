//! What every fault test begins with and ends with: a deployment before a canary, a caller, and
//! the question whether anything happened that should not have.

use std::time::Duration;

use serde_json::Value;

use crate::breaking::Mount;
use crate::canary::{Canary, Effect};
use crate::{Answer, Caller, Deployment, Options, Relay, wait_until};

/// How long a decision may take: longer than a busy machine stands still for now and then.
pub const DECISION: Duration = Duration::from_secs(5);

/// How long an upstream may take: as long.
pub const UPSTREAM: Duration = DECISION;

/// How long a request may take to arrive, where a test says nothing else.
pub const REQUEST: Duration = Duration::from_secs(30);

/// The policy: everything that the canary does, unless the mark says that it is forbidden.
pub const POLICY: &str = r#"
@id("canary")
permit (principal, action in Action::"tools/call", resource in Server::"canary");

@id("never")
forbid (principal, action == Action::"canary/touch", resource)
when { context.input.mark like "*forbidden*" };
"#;

/// A deployment, a canary behind a relay, and a caller.
#[derive(Debug)]
pub struct Stage {
    /// Calls.
    pub caller: Caller,
    /// The deployment; its server is `canary`.
    pub deployment: Deployment,
    /// Stands before the canary.
    pub relay: Relay,
    /// The tool server.
    pub canary: Canary,
    marks: u64,
}

impl Stage {
    /// Sets everything up; calls work.
    pub fn set() -> Self {
        Self::set_with(REQUEST, "")
    }

    /// The same, with another time limit for requests, and further lines of the configuration.
    pub fn set_with(request: Duration, further: &str) -> Self {
        Self::set_by(|port| options(port, request, further))
    }

    /// The same, with a deployment before the server at a port that has these options.
    pub fn set_by(options: impl FnOnce(u16) -> Options) -> Self {
        let canary = Canary::start();
        let relay = Relay::start(canary.port);
        let deployment = Deployment::start(&options(relay.port));
        deployment.onboard(&["canary"], "changes-production");
        let caller = Caller::new(&deployment, "canary");
        let mut stage = Self { caller, deployment, relay, canary, marks: 0 };
        stage.works();
        stage
    }

    /// The process id of the service.
    pub fn pid(&self) -> u32 {
        self.deployment.process.as_ref().expect("it runs").id()
    }

    /// Stops the service, puts its directory `name` where `mount` puts it, and starts it again.
    pub fn remount(&mut self, name: &str, mount: impl FnOnce(&std::path::Path) -> Mount) -> Mount {
        self.deployment.stop();
        let mounted = mount(&self.deployment.path(name));
        self.deployment.serve();
        mounted
    }

    /// A mark that nobody used.
    pub fn mark(&mut self) -> String {
        self.marks += 1;
        format!("mark-{}", self.marks)
    }

    /// Calls with a new mark; gives the mark and the answer.
    pub fn touch(&mut self) -> (String, Answer) {
        let mark = self.mark();
        let answer = self.caller.call("touch", &mark);
        (mark, answer)
    }

    /// How often the call with `mark` reached the tool.
    pub fn reached(&self, mark: &str) -> usize {
        self.canary.effects().iter().filter(|effect| effect.mark == mark).count()
    }

    /// A call is done, once.
    pub fn works(&mut self) {
        let (mark, answer) = self.touch();
        assert_eq!(answer.code(), "done", "{answer:?}");
        assert_eq!(self.reached(&mark), 1);
    }

    /// Calls work again, by themselves: the canary sees each call that is done, and no other.
    pub fn recovers(&mut self) {
        wait_until("calls work again", || {
            let (mark, answer) = self.touch();
            assert_eq!(self.reached(&mark), usize::from(answer.is_done()), "{answer:?}");
            answer.is_done().then_some(())
        });
    }

    /// A call is refused with `code`, within the deadline, and reaches nobody.
    pub fn is_refused(&mut self, code: &str) -> Answer {
        let (mark, answer) = self.touch();
        assert_eq!(answer.code(), code, "{answer:?}");
        assert!(answer.took < 2 * DECISION, "{answer:?}");
        assert_eq!(self.reached(&mark), 0, "it was refused, and it happened");
        if code == "unavailable" {
            assert!(answer.told("retry_after_ms").as_u64().is_some_and(|after| after > 0));
        }
        answer
    }

    /// Calls until one is refused with `code`: what is done until then happens, what is refused
    /// does not.
    pub fn is_refused_soon(&mut self, code: &str) {
        wait_until("calls are refused", || {
            let (mark, answer) = self.touch();
            let (done, told) = (answer.is_done(), answer.code());
            assert!(done || told == code, "{answer:?}");
            assert!(done || answer.took < 2 * DECISION, "{answer:?}");
            assert_eq!(self.reached(&mark), usize::from(done), "{answer:?}");
            (!done).then_some(())
        });
    }

    /// Waits until `/metrics` has `line`, and gives what `/readyz` says then.
    pub fn told(&self, line: &str) -> String {
        wait_until(line, || self.deployment.observed("/metrics").contains(line).then_some(()));
        self.deployment.observed("/readyz")
    }

    /// The records of calls of the canary's tools.
    pub fn decisions(&self) -> Vec<Value> {
        let is_call = |record: &Value| {
            let action = record["action"].as_str().unwrap_or_default();
            record["kind"] == "decision" && action.starts_with("canary/")
        };
        self.deployment.records().into_iter().filter(is_call).collect()
    }

    /// How the act of `decision` ended, once that is recorded.
    pub fn outcome(&self, decision: &str) -> String {
        wait_until("the outcome is recorded", || outcome(&self.deployment.records(), decision))
    }

    /// Ends the test: works again, nothing happened without a permit, every permit has an outcome,
    /// and the log verifies.
    pub fn ends_well(mut self) {
        self.recovers();
        let permits = wait_until("every permit has an outcome", || {
            let records = self.deployment.records();
            let permits = permits(&records);
            permits.iter().all(|id| outcome(&records, id).is_some()).then_some(permits)
        });
        let effects = self.canary.effects();
        assert_permitted(&effects, &permits);
        assert!(effects.len() <= permits.len(), "more happened than was permitted");
        let said = self.deployment.verify();
        assert!(said.contains("the log verifies"), "{said}");
    }
}

/// What the deployments of fault tests are like: timeouts that a test can wait for, and a canary at `port`.
pub fn options(port: u16, request: Duration, further: &str) -> Options {
    options_within(port, (request, UPSTREAM), further)
}

/// The same, where an upstream may take as long as is said.
pub fn options_within(
    port: u16,
    (request, upstream): (Duration, Duration),
    further: &str,
) -> Options {
    let [decision, request, upstream] =
        [DECISION, request, upstream].map(|within| within.as_millis());
    let configuration = format!(
        "timeouts: {{ decision_ms: {decision}, request_ms: {request}, upstream_ms: {upstream} }}\n\
         logging: {{ level: error }}\n{further}"
    );
    let canary = ("canary".to_owned(), format!("{{ url: 'http://127.0.0.1:{port}/mcp' }}"));
    let servers = vec![canary];
    Options { servers, configuration, policy: POLICY.to_owned(), ..Options::default() }
}

/// How the act of `decision` ended, if `records` say it.
pub fn outcome(records: &[Value], decision: &str) -> Option<String> {
    let closes = |record: &&Value| record["kind"] == "outcome" && record["decision"] == decision;
    records.iter().find(closes).and_then(|record| record["outcome"].as_str()).map(str::to_owned)
}

/// The ids of the calls that `records` permit.
pub fn permits(records: &[Value]) -> Vec<String> {
    let is_permit = |record: &&Value| {
        let action = record["action"].as_str().unwrap_or_default();
        record["kind"] == "decision"
            && record["decision"] == "permit"
            && action.starts_with("canary/")
    };
    let id = |record: &Value| record["id"].as_str().map(str::to_owned);
    records.iter().filter(is_permit).filter_map(id).collect()
}

/// Every effect names a decision that permitted it, and no two the same.
pub fn assert_permitted(effects: &[Effect], permits: &[String]) {
    let mut seen = std::collections::BTreeSet::new();
    for effect in effects {
        let decision = effect.decision.clone().unwrap_or_default();
        assert!(permits.contains(&decision), "{effect:?} has no permit");
        assert!(seen.insert(decision), "{effect:?} happened twice on one permit");
    }
}
