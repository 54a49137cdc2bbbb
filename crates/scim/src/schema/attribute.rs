//! What a schema says of one attribute (RFC 7643 §2.2, §7).

/// The data type of an attribute (RFC 7643 §2.3). No schema here has numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Boolean,
    DateTime,
    Binary,
    /// A URI, with what it may lead to (`referenceTypes`).
    Reference(&'static [&'static str]),
    Complex(&'static [Attribute]),
}

/// Who may write an attribute, and when (RFC 7643 §7, `mutability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutability {
    ReadOnly,
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// When an attribute is returned (RFC 7643 §7, `returned`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    Always,
    Default,
    Never,
}

/// Among what a value is unique (RFC 7643 §7, `uniqueness`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uniqueness {
    None,
    Server,
}

/// How many values an attribute has (RFC 7643 §2.4, `multiValued`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plurality {
    One,
    Several,
    /// Many more than one request may name: a group's members.
    Many,
}

/// One attribute of a schema (RFC 7643 §7).
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) kind: Kind,
    pub(crate) plurality: Plurality,
    pub(crate) required: bool,
    pub(crate) case_exact: bool,
    pub(crate) mutability: Mutability,
    pub(crate) returned: Returned,
    pub(crate) uniqueness: Uniqueness,
    pub(crate) canonical: &'static [&'static str],
}

impl Attribute {
    const fn new(name: &'static str, description: &'static str, kind: Kind) -> Self {
        Self {
            name,
            description,
            kind,
            plurality: Plurality::One,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            uniqueness: Uniqueness::None,
            canonical: &[],
        }
    }

    pub(crate) const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, Kind::Text)
    }

    pub(crate) const fn flag(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, Kind::Boolean)
    }

    pub(crate) const fn time(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, Kind::DateTime)
    }

    pub(crate) const fn binary(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, Kind::Binary).exact()
    }

    pub(crate) const fn reference(
        name: &'static str,
        description: &'static str,
        to: &'static [&'static str],
    ) -> Self {
        Self::new(name, description, Kind::Reference(to)).exact()
    }

    pub(crate) const fn complex(
        name: &'static str,
        description: &'static str,
        sub: &'static [Self],
    ) -> Self {
        Self::new(name, description, Kind::Complex(sub))
    }

    pub(crate) const fn multi(mut self) -> Self {
        self.plurality = Plurality::Several;
        self
    }

    pub(crate) const fn many(mut self) -> Self {
        self.plurality = Plurality::Many;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn exact(mut self) -> Self {
        self.case_exact = true;
        self
    }

    pub(crate) const fn read_only(mut self) -> Self {
        self.mutability = Mutability::ReadOnly;
        self
    }

    pub(crate) const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    /// Written and never read again: a password.
    pub(crate) const fn secret(mut self) -> Self {
        self.mutability = Mutability::WriteOnly;
        self.returned = Returned::Never;
        self
    }

    pub(crate) const fn always(mut self) -> Self {
        self.returned = Returned::Always;
        self
    }

    pub(crate) const fn unique(mut self) -> Self {
        self.uniqueness = Uniqueness::Server;
        self
    }

    pub(crate) const fn canonical(mut self, values: &'static [&'static str]) -> Self {
        self.canonical = values;
        self
    }

    /// Its sub-attributes.
    pub(crate) const fn subs(&self) -> &'static [Self] {
        match self.kind {
            Kind::Complex(subs) => subs,
            Kind::Text | Kind::Boolean | Kind::DateTime | Kind::Binary | Kind::Reference(_) => &[],
        }
    }

    /// Its sub-attribute `name`, whatever the case.
    pub(crate) fn sub(&self, name: &str) -> Option<&'static Self> {
        self.subs().iter().find(|sub| sub.name.eq_ignore_ascii_case(name))
    }

    /// Whether it is a list of values.
    pub(crate) const fn is_multi_valued(&self) -> bool {
        matches!(self.plurality, Plurality::Several | Plurality::Many)
    }

    /// Whether it may have more values than one request may name.
    pub(crate) const fn is_large(&self) -> bool {
        matches!(self.plurality, Plurality::Many)
    }

    pub(crate) const fn is_complex(&self) -> bool {
        matches!(self.kind, Kind::Complex(_))
    }
}
