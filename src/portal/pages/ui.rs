//! What pages are made of. A page is a list of blocks, so that all look and behave alike.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::chart::Chart;
use super::moment::Moment;

use super::draft_form::DraftForm;

/// A page as it is rendered. Everything in it is escaped.
#[derive(Template)]
#[template(path = "page.html")]
pub(in crate::portal) struct Page {
    pub(in crate::portal) title: String,
    /// Who is signed in, with the role; nobody on the pages before that.
    pub(in crate::portal) user: Option<(String, &'static str)>,
    pub(in crate::portal) menu: Vec<Link>,
    /// The kill switches that are engaged.
    pub(in crate::portal) stopped: Vec<String>,
    pub(in crate::portal) blocks: Vec<Block>,
    /// When it is made; moments on it are told from there.
    pub(in crate::portal) now: Option<Timestamp>,
    /// Where what changes by itself is asked for again.
    pub(in crate::portal) live: Option<String>,
}

/// A way to another page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::portal) struct Link {
    pub(in crate::portal) href: String,
    pub(in crate::portal) text: String,
    /// Whether it leads to the page that is shown.
    pub(in crate::portal) here: bool,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::portal) enum Tone {
    Good,
    Warn,
    Bad,
}

impl Tone {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A part of a page.
pub(in crate::portal) enum Block {
    Heading(String),
    Text(String),
    Notice(Tone, String),
    Facts(Vec<(String, String)>),
    Table {
        caption: String,
        columns: Vec<String>,
        rows: Vec<Vec<Cell>>,
        empty: String,
    },
    Form(Form),
    /// A draft of a policy file.
    Draft(Box<DraftForm>),
    /// Secrets that are shown this once.
    Secrets {
        about: String,
        items: Vec<(String, String)>,
        more: Option<String>,
    },
    Lines(Vec<String>),
    /// A picture of our own making, as SVG in a data URL.
    Picture {
        about: String,
        source: String,
    },
    Links(Vec<Link>),
    /// Rows as they come, for who has a script.
    Tail {
        source: String,
        columns: Vec<String>,
    },
    Listing(Listing),
    Charts(Vec<Chart>),
}

/// A table of which a part is shown: it is sorted where it is made, by links in its heads.
pub(in crate::portal) struct Listing {
    pub(in crate::portal) caption: String,
    pub(in crate::portal) heads: Vec<Head>,
    pub(in crate::portal) rows: Vec<Vec<Cell>>,
    pub(in crate::portal) empty: String,
}

/// The head of a column.
pub(in crate::portal) struct Head {
    pub(in crate::portal) text: String,
    /// Where the table is sorted by it.
    pub(in crate::portal) href: Option<String>,
    /// How it is sorted by it now, as `aria-sort` says it.
    pub(in crate::portal) sorted: Option<&'static str>,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(in crate::portal) struct Cell {
    pub(in crate::portal) text: String,
    pub(in crate::portal) href: Option<String>,
    pub(in crate::portal) tone: Option<Tone>,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), href: None, tone: None }
    }

    pub(super) fn link(text: impl Into<String>, href: impl Into<String>) -> Self {
        Self { text: text.into(), href: Some(href.into()), tone: None }
    }

    pub(super) fn toned(text: impl Into<String>, tone: Option<Tone>) -> Self {
        Self { text: text.into(), href: None, tone }
    }
}

/// A form. It works without a script.
pub(in crate::portal) struct Form {
    pub(in crate::portal) title: String,
    pub(in crate::portal) about: String,
    pub(in crate::portal) action: String,
    pub(in crate::portal) method: &'static str,
    pub(in crate::portal) fields: Vec<Field>,
    pub(in crate::portal) button: String,
    pub(in crate::portal) danger: bool,
}

impl Form {
    pub(super) fn post(title: &str, action: impl Into<String>, button: &str) -> Self {
        let (title, button) = (title.to_owned(), button.to_owned());
        let (about, action, fields) = (String::new(), action.into(), Vec::new());
        Self { title, about, action, method: "post", fields, button, danger: false }
    }

    pub(super) fn get(title: &str, action: impl Into<String>, button: &str) -> Self {
        Self { method: "get", ..Self::post(title, action, button) }
    }

    pub(super) fn about(self, about: &str) -> Self {
        Self { about: about.to_owned(), ..self }
    }

    pub(super) fn danger(self) -> Self {
        Self { danger: true, ..self }
    }

    pub(super) fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    pub(super) fn fields(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.fields.extend(fields);
        self
    }
}

/// A field of a form.
#[derive(Debug, Clone)]
pub(in crate::portal) struct Field {
    pub(in crate::portal) name: &'static str,
    pub(in crate::portal) label: String,
    pub(in crate::portal) kind: &'static str,
    pub(in crate::portal) value: String,
    pub(in crate::portal) hint: String,
    pub(in crate::portal) required: bool,
    pub(in crate::portal) autocomplete: &'static str,
    /// What can be chosen: the value and what is shown.
    pub(in crate::portal) options: Vec<(String, String)>,
}

impl Field {
    pub(super) fn of(kind: &'static str, name: &'static str, label: &str) -> Self {
        let (value, hint, options) = (String::new(), String::new(), Vec::new());
        Self { name, label: label.to_owned(), kind, value, hint, required: true, autocomplete: "off", options }
    }

    pub(super) fn choice(name: &'static str, label: &str, options: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { options: options.into_iter().collect(), ..Self::of("select", name, label) }
    }

    pub(super) fn value(self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self }
    }

    pub(super) fn hint(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }

    pub(super) fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    pub(super) fn autocomplete(self, autocomplete: &'static str) -> Self {
        Self { autocomplete, ..self }
    }
}

impl Page {
    /// A page for somebody who has not signed in.
    pub(super) fn outside(title: &str, blocks: Vec<Block>) -> Self {
        Self {
            title: title.to_owned(),
            user: None,
            menu: Vec::new(),
            stopped: Vec::new(),
            blocks,
            now: None,
            live: None,
        }
    }

    /// The moment that a text is, where it is one.
    pub(in crate::portal) fn moment(&self, text: &str) -> Option<Moment> {
        Moment::read(text, self.now?)
    }

    /// The same, which asks again for what changes by itself.
    pub(super) fn live(self, href: &str) -> Self {
        Self { live: Some(href.to_owned()), ..self }
    }

    pub(super) fn answer(&self, status: StatusCode) -> Response {
        match self.render() {
            Ok(text) => {
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                (status, [(header::CONTENT_TYPE, html)], Body::from(text)).into_response()
            }
            Err(error) => {
                log::error!("a page could not be rendered: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered").into_response()
            }
        }
    }
}

/// Leads the browser on after something was done, so that reloading does it not again.
pub(super) fn see(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "there is no way on").into_response();
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}
