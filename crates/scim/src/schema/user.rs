//! People (RFC 7643 §4.1, §4.3, §8.7.1).

use super::{Attribute, ResourceType, Schema};

/// The resource type of people (RFC 7643 §4.1), with what an enterprise adds (§4.3).
pub static USER: ResourceType =
    ResourceType { name: "User", endpoint: "/Users", schema: &CORE, extensions: &[&ENTERPRISE] };

static CORE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    description: "A person.",
    attributes: &ATTRIBUTES,
};

static ENTERPRISE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    name: "EnterpriseUser",
    description: "What an enterprise says of a person.",
    attributes: &ENTERPRISE_ATTRIBUTES,
};

static ATTRIBUTES: [Attribute; 21] = [
    Attribute::text("userName", "The name that the person logs in by.").required().unique(),
    Attribute::complex("name", "The parts of the person's name.", &NAME),
    Attribute::text("displayName", "The name of the person, as it is shown."),
    Attribute::text("nickName", "How the person is called casually."),
    Attribute::reference("profileUrl", "The URL of the person's profile.", &["external"]),
    Attribute::text("title", "The person's title: `Vice President`."),
    Attribute::text("userType", "How the person belongs to the organisation: `Contractor`."),
    Attribute::text("preferredLanguage", "The preferred languages, as `Accept-Language` has them."),
    Attribute::text("locale", "The locale of the person: `en-US`."),
    Attribute::text("timezone", "The time zone of the person: `America/Los_Angeles`."),
    Attribute::flag("active", "Whether the person is there."),
    Attribute::text("password", "Taken and thrown away: people log in elsewhere.").exact().secret(),
    Attribute::complex("emails", "E-mail addresses.", &EMAIL).multi(),
    Attribute::complex("phoneNumbers", "Phone numbers.", &PHONE_NUMBER).multi(),
    Attribute::complex("ims", "Addresses for instant messages.", &IM).multi(),
    Attribute::complex("photos", "URLs of photos of the person.", &PHOTO).multi(),
    Attribute::complex("addresses", "Postal addresses.", &ADDRESS).multi(),
    Attribute::complex("groups", "The groups that the person is a member of.", &MEMBERSHIP)
        .multi()
        .read_only(),
    Attribute::complex("entitlements", "What the person is entitled to.", &WORD).multi(),
    Attribute::complex("roles", "The roles of the person.", &WORD).multi(),
    Attribute::complex("x509Certificates", "Certificates of the person.", &CERTIFICATE).multi(),
];

static NAME: [Attribute; 6] = [
    Attribute::text("formatted", "The whole name, as it is shown."),
    Attribute::text("familyName", "The family name."),
    Attribute::text("givenName", "The given name."),
    Attribute::text("middleName", "The middle names."),
    Attribute::text("honorificPrefix", "What stands before the name: `Ms.`."),
    Attribute::text("honorificSuffix", "What stands after the name: `III`."),
];

const DISPLAY: Attribute = Attribute::text("display", "The value, as it is shown.");
const PRIMARY: Attribute = Attribute::flag("primary", "Whether it is the one that is preferred.");
const TYPE: Attribute = Attribute::text("type", "What the value is for.");

static EMAIL: [Attribute; 4] = [
    Attribute::text("value", "The address."),
    DISPLAY,
    TYPE.canonical(&["work", "home", "other"]),
    PRIMARY,
];

static PHONE_NUMBER: [Attribute; 4] = [
    Attribute::text("value", "The number."),
    DISPLAY,
    TYPE.canonical(&["work", "home", "mobile", "fax", "pager", "other"]),
    PRIMARY,
];

static IM: [Attribute; 4] = [
    Attribute::text("value", "The address."),
    DISPLAY,
    TYPE.canonical(&["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"]),
    PRIMARY,
];

static PHOTO: [Attribute; 4] = [
    Attribute::reference("value", "The URL of the photo.", &["external"]),
    DISPLAY,
    TYPE.canonical(&["photo", "thumbnail"]),
    PRIMARY,
];

static ADDRESS: [Attribute; 8] = [
    Attribute::text("formatted", "The whole address, as it is written."),
    Attribute::text("streetAddress", "House, street, apartment."),
    Attribute::text("locality", "The city."),
    Attribute::text("region", "The state or region."),
    Attribute::text("postalCode", "The postal code."),
    Attribute::text("country", "The country: `DE`."),
    TYPE.canonical(&["work", "home", "other"]),
    PRIMARY,
];

static MEMBERSHIP: [Attribute; 4] = [
    Attribute::text("value", "The id of the group.").exact().read_only(),
    Attribute::reference("$ref", "The URI of the group.", &["User", "Group"]).read_only(),
    Attribute::text("display", "The name of the group.").read_only(),
    Attribute::text("type", "Whether the membership is direct.")
        .read_only()
        .canonical(&["direct", "indirect"]),
];

static WORD: [Attribute; 4] = [Attribute::text("value", "The value."), DISPLAY, TYPE, PRIMARY];

static CERTIFICATE: [Attribute; 4] =
    [Attribute::binary("value", "The certificate, in DER."), DISPLAY, TYPE, PRIMARY];

static ENTERPRISE_ATTRIBUTES: [Attribute; 6] = [
    Attribute::text("employeeNumber", "The number that the organisation gave the person."),
    Attribute::text("costCenter", "The cost centre."),
    Attribute::text("organization", "The organisation."),
    Attribute::text("division", "The division."),
    Attribute::text("department", "The department."),
    Attribute::complex("manager", "Whom the person reports to.", &MANAGER),
];

static MANAGER: [Attribute; 3] = [
    Attribute::text("value", "The id of the manager.").exact(),
    Attribute::reference("$ref", "The URI of the manager.", &["User"]),
    Attribute::text("displayName", "The name of the manager.").read_only(),
];
