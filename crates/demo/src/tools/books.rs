//! What the tools do: small books, kept in memory.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What was paid for each order, in cents.
const ORDERS: [(&str, i64); 3] = [("A-1001", 12_000), ("A-1002", 8_000), ("A-1003", 30_000)];

/// The customers.
const CUSTOMERS: [(&str, &str); 2] = [("C-7", "Ada Lovelace"), ("C-8", "Alan Turing")];

/// One tool: what it says of itself, and what it does.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// Its required members, each with its JSON Schema type.
    pub(super) members: &'static [(&'static str, &'static str)],
    pub(super) act: fn(&mut Books, &Value) -> Result<Value, String>,
    /// Whether it goes on afterwards, and tells of it while it does.
    pub(super) goes_on: bool,
}

impl Tool {
    /// The JSON Schema of its arguments.
    pub(super) fn schema(&self) -> Value {
        let member = |(name, kind): &(&str, &str)| ((*name).to_owned(), json!({ "type": kind }));
        let properties: serde_json::Map<_, _> = self.members.iter().map(member).collect();
        let required: Vec<_> = self.members.iter().map(|(name, _)| *name).collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

const PAYMENTS: [Tool; 1] = [Tool {
    name: "refund",
    description: "Pays back a part of what was paid for an order, in cents",
    members: &[("order", "string"), ("cents", "integer")],
    act: Books::refund,
    goes_on: false,
}];

const CRM: [Tool; 2] = [
    Tool {
        name: "lookup",
        description: "Finds a customer by number",
        members: &[("customer", "string")],
        act: lookup,
        goes_on: false,
    },
    Tool {
        name: "export",
        description: "Sends all customers to an address",
        members: &[("to", "string")],
        act: export,
        goes_on: false,
    },
];

const TICKETS: [Tool; 3] = [
    Tool {
        name: "comment",
        description: "Writes a comment on a ticket",
        members: &[("ticket", "string"), ("text", "string")],
        act: Books::comment,
        goes_on: false,
    },
    Tool {
        name: "log_hours",
        description: "Books hours of work on a ticket",
        members: &[("ticket", "string"), ("hours", "integer")],
        act: Books::log_hours,
        goes_on: false,
    },
    Tool {
        name: "follow",
        description: "Tends a ticket until nobody listens",
        members: &[("ticket", "string")],
        act: follow,
        goes_on: true,
    },
];

/// The tools of the server `name`, if it is one of the three.
pub(super) fn tools_of(name: &str) -> Option<&'static [Tool]> {
    match name {
        "payments" => Some(&PAYMENTS),
        "crm" => Some(&CRM),
        "tickets" => Some(&TICKETS),
        _ => None,
    }
}

/// The books of one server.
#[derive(Debug, Default)]
pub(super) struct Books {
    refunded: BTreeMap<String, i64>,
    comments: BTreeMap<String, Vec<String>>,
    hours: BTreeMap<String, i64>,
}

impl Books {
    fn refund(&mut self, arguments: &Value) -> Result<Value, String> {
        let order = text(arguments, "order")?;
        let cents = number(arguments, "cents")?;
        let paid = ORDERS.iter().find(|(known, _)| *known == order).map(|(_, paid)| *paid);
        let paid = paid.ok_or_else(|| format!("there is no order {order}"))?;
        let refunded = self.refunded.entry(order).or_default();
        if cents <= 0 || cents > paid - *refunded {
            return Err(format!("{} cents are left to be paid back", paid - *refunded));
        }
        *refunded += cents;
        Ok(json!({ "refunded": cents, "left": paid - *refunded }))
    }

    fn comment(&mut self, arguments: &Value) -> Result<Value, String> {
        let comments = self.comments.entry(text(arguments, "ticket")?).or_default();
        comments.push(text(arguments, "text")?);
        Ok(json!({ "comments": comments.len() }))
    }

    fn log_hours(&mut self, arguments: &Value) -> Result<Value, String> {
        let hours = number(arguments, "hours")?;
        let booked = self.hours.entry(text(arguments, "ticket")?).or_default();
        *booked = booked.checked_add(hours).ok_or("that is more than there are")?;
        Ok(json!({ "hours": booked }))
    }
}

fn lookup(_: &mut Books, arguments: &Value) -> Result<Value, String> {
    let number = text(arguments, "customer")?;
    let found = CUSTOMERS.iter().find(|(known, _)| *known == number);
    let (_, name) = found.ok_or_else(|| format!("there is no customer {number}"))?;
    Ok(json!({ "customer": number, "name": name }))
}

fn export(_: &mut Books, arguments: &Value) -> Result<Value, String> {
    let to = text(arguments, "to")?;
    Ok(json!({ "sent": CUSTOMERS.len(), "to": to }))
}

fn follow(_: &mut Books, arguments: &Value) -> Result<Value, String> {
    Ok(json!({ "ticket": text(arguments, "ticket")? }))
}

fn text(arguments: &Value, name: &str) -> Result<String, String> {
    let text = arguments.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("`{name}` is not a text"))
}

fn number(arguments: &Value, name: &str) -> Result<i64, String> {
    let number = arguments.get(name).and_then(Value::as_i64);
    number.ok_or_else(|| format!("`{name}` is not a whole number"))
}
