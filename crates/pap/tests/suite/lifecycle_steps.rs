//! What happens in the life of an agent, in whatever order.

use model::RiskLevel;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::lifecycle_people::PEOPLE;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// The directory says whole what somebody is.
    Put {
        who: usize,
        active: bool,
        manager: Option<usize>,
        /// Whether they work at the other desk.
        elsewhere: bool,
    },
    /// The directory says that somebody joins the group that makes eligible, or leaves it.
    Lead {
        who: usize,
        joins: bool,
    },
    /// The directory says by mistake that somebody left, or works at the other desk, which two people undo.
    Mistake {
        who: usize,
        leaves: bool,
    },
    /// The directory has them no longer.
    Delete {
        who: usize,
    },
    /// The stream tells that they left, or are back, as it happened so many seconds ago.
    Tell {
        who: usize,
        left: bool,
        ago: i64,
    },
    /// It tells that their sessions are over: what was begun on their behalf is, what they sponsor goes on.
    LoggedOut {
        who: usize,
    },
    /// It tells at which risk something is, or was so many seconds ago.
    Rate {
        of: Of,
        level: RiskLevel,
        ago: i64,
    },
    /// What the stream told last comes once more.
    Replay,
    Wait {
        seconds: u64,
    },
    /// The agent begins something, on its sponsor's mandate or on what somebody consented to.
    Begin {
        whose: Option<usize>,
    },
    Affirm {
        who: usize,
    },
    Renew {
        who: usize,
    },
    TakeOver {
        who: usize,
    },
    Review {
        days: i64,
    },
    Certify,
    Reinstate {
        who: usize,
    },
    /// An administrator stops something that acts, for good or not, or has looked at it.
    Quarantine {
        which: Index,
    },
    Revoke {
        which: Index,
    },
    Release {
        which: Index,
    },
    /// Something that acts asks so many times for a tool that is not declared of it.
    Depart {
        which: Index,
        times: u8,
    },
    /// An administrator says at which risk something is: no lower than before, or lower.
    Raise {
        of: Of,
        level: RiskLevel,
    },
    Lower {
        of: Of,
        level: Option<RiskLevel>,
    },
    Restart,
}

/// Of what a risk is said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Person(usize),
    Agent,
    Work(Index),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    // Ann, who sponsors the agent at first, is whom most happens to.
    let who = || prop_oneof![3 => Just(0), 3 => 0..PEOPLE.len()];
    let manager = || prop::option::of(0..PEOPLE.len());
    let level = || prop::sample::select(RiskLevel::ALL.to_vec());
    let of = move || {
        let work = any::<Index>().prop_map(Of::Work);
        prop_oneof![who().prop_map(Of::Person), Just(Of::Agent), work]
    };
    let waits = prop_oneof![
        4 => 1_u64..5,
        3 => 60_u64..900,
        2 => Just(3 * 86_400),
        1 => Just(16 * 86_400),
    ];
    prop_oneof![
        4 => (who(), any::<bool>(), manager(), prop::bool::weighted(0.2)).prop_map(
            |(who, active, manager, elsewhere)| Step::Put { who, active, manager, elsewhere }),
        3 => (who(), any::<bool>()).prop_map(|(who, joins)| Step::Lead { who, joins }),
        2 => (who(), any::<bool>()).prop_map(|(who, leaves)| Step::Mistake { who, leaves }),
        1 => who().prop_map(|who| Step::Delete { who }),
        5 => (who(), any::<bool>(), prop_oneof![Just(0), 0_i64..1_000])
            .prop_map(|(who, left, ago)| Step::Tell { who, left, ago }),
        2 => who().prop_map(|who| Step::LoggedOut { who }),
        1 => Just(Step::Replay),
        5 => waits.prop_map(|seconds| Step::Wait { seconds }),
        4 => prop::option::weighted(0.4, who()).prop_map(|whose| Step::Begin { whose }),
        2 => who().prop_map(|who| Step::Affirm { who }),
        3 => who().prop_map(|who| Step::Renew { who }),
        4 => (0..PEOPLE.len()).prop_map(|who| Step::TakeOver { who }),
        1 => (1_i64..20).prop_map(|days| Step::Review { days }),
        1 => Just(Step::Certify),
        1 => who().prop_map(|who| Step::Reinstate { who }),
        2 => any::<Index>().prop_map(|which| Step::Quarantine { which }),
        1 => any::<Index>().prop_map(|which| Step::Revoke { which }),
        3 => any::<Index>().prop_map(|which| Step::Release { which }),
        4 => (of(), level(), prop_oneof![Just(0), 0_i64..1_000])
            .prop_map(|(of, level, ago)| Step::Rate { of, level, ago }),
        3 => (any::<Index>(), 1_u8..4).prop_map(|(which, times)| Step::Depart { which, times }),
        2 => (of(), level()).prop_map(|(of, level)| Step::Raise { of, level }),
        3 => (of(), prop::option::of(level())).prop_map(|(of, level)| Step::Lower { of, level }),
        1 => Just(Step::Restart),
    ]
}
