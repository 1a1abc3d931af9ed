//! Which names announce a secret: headers, JSON keys, form fields, XML elements and attributes, parameters.

use std::collections::HashSet;

use super::RedactionLists;
use super::filter::Filter;
use super::words::{Words, segments};

/// Where a name was found. A few short names are secrets in a query or form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A JSON or YAML key, an XML name, a word in text.
    Field,
    /// A query parameter or form field.
    Parameter,
}

/// Secrets wherever they stand in the name, its words joined in lower case.
const INSIDE: &[&str] = &[
    "password",
    "passwort",
    "passwd",
    "passphrase",
    "passcode",
    "kennwort",
    "contrasena",
    "contraseña",
    "motdepasse",
    "пароль",
    "密码",
    "パスワード",
    "secret",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "subscriptionkey",
    "accountkey",
    "authkey",
    "appkey",
    "masterkey",
    "sharedkey",
    "sessionkey",
    "sshkey",
    "sessionid",
    "sessid",
    "authtoken",
    "samlresponse",
    "samlassertion",
    "codeverifier",
    "mysapsso",
    "authcode",
    "authorizationcode",
    "verificationcode",
    "otpcode",
    "mfacode",
    "devicecode",
    "usercode",
    "securitycode",
    "backupcode",
    "recoverycode",
    "smscode",
    "accesscode",
    "onetimecode",
    "sharedaccesssignature",
];

/// Secrets as a word of the name.
const WORD: &[&str] = &[
    "token",
    "tokens",
    "pwd",
    "pswd",
    "psw",
    "passw",
    "pw",
    "psk",
    "otp",
    "totp",
    "hotp",
    "jwt",
    "csrf",
    "xsrf",
    "cookie",
    "cookies",
    "sid",
    "cvv",
    "cvc",
    "senha",
    "bearer",
    "assertion",
    "wachtwoord",
    "haslo",
    "sessiontoken",
];

/// Secrets as the last word of the name.
const LAST_WORD: &[&str] = &["pass", "pin", "session", "sesion", "signature", "sig", "authorization", "authenticate"];

/// Secrets as the whole name.
const WHOLE: &[&str] = &["auth", "xauth", "authentication", "authenticationinfo", "dpop", "setcookie2"];

/// Secrets as the whole name of a query parameter or form field.
const WHOLE_PARAMETER: &[&str] = &["code", "key"];

/// The second factor of a sign-in, wherever it stands in the name.
const SECOND_FACTOR: &[&str] = &["2fa", "twofactor"];

/// A name that ends so speaks about a secret and does not hold one.
const ABOUT: &[&str] = &[
    "type",
    "url",
    "uri",
    "endpoint",
    "expires",
    "expiry",
    "expiration",
    "lifetime",
    "ttl",
    "policy",
    "length",
    "changed",
    "required",
    "enabled",
];

/// Names whose value goes on to the end of the line, because it has words and signs of its own.
const WHOLE_LINE: &[&str] = &[
    "authorization",
    "proxyauthorization",
    "xauthorization",
    "cookie",
    "setcookie",
    "wwwauthenticate",
    "proxyauthenticate",
    "authenticationinfo",
];

/// The names that announce a secret: the built-in rules and the operator's lists.
#[derive(Debug)]
pub(super) struct Names {
    headers: HashSet<String>,
    fields: HashSet<String>,
    filter: Filter,
}

impl Names {
    pub(super) fn new(extra: &RedactionLists) -> Self {
        let joined = |names: &[String]| -> HashSet<String> {
            names.iter().map(|name| Words::of(name.as_bytes()).joined).filter(|name| !name.is_empty()).collect()
        };
        let headers = joined(&extra.headers);
        // A header may also turn up as a key: in a batch request, in an echo.
        let fields: HashSet<String> = joined(&extra.fields).union(&headers).cloned().collect();
        let built_in = [INSIDE, WORD, LAST_WORD, WHOLE, WHOLE_PARAMETER, SECOND_FACTOR].into_iter().flatten().copied();
        let filter = Filter::new(built_in.chain(fields.iter().map(String::as_str)));
        Self { headers, fields, filter }
    }

    /// Whether the value of this header is a secret.
    pub(super) fn is_secret_header(&self, name: &str) -> bool {
        let words = Words::of(name.as_bytes());
        self.headers.contains(&words.joined) || announces(&words)
    }

    /// Whether the value under this name is a secret. The name may still be escaped.
    pub(super) fn is_secret(&self, name: &[u8], place: Place) -> bool {
        if !self.filter.lets_through(name) {
            return false;
        }
        let words = Words::of(name);
        let listed = || {
            self.fields.contains(&words.joined)
                || segments(&words.plain).any(|segment| self.fields.contains(&Words::split(segment).joined))
        };
        let as_parameter = place == Place::Parameter && WHOLE_PARAMETER.contains(&words.joined.as_str());
        as_parameter || announces(&words) || (!self.fields.is_empty() && listed())
    }

    /// Whether this text is nothing but the name of a secret, as in `["password", "…"]`.
    pub(super) fn is_only_a_secret_name(&self, text: &[u8]) -> bool {
        const LONGEST: usize = 64;
        let text = text.trim_ascii();
        text.len() <= LONGEST
            && !text.is_empty()
            && !text.iter().any(u8::is_ascii_whitespace)
            && self.is_secret(text, Place::Field)
    }

    /// Whether a long run of letters and digits after this word is a secret.
    pub(super) fn is_key_like(&self, word: &[u8]) -> bool {
        word.eq_ignore_ascii_case(b"key") || self.is_secret(word, Place::Field)
    }
}

/// Whether the value under this name takes the whole line, as that of an `Authorization` header does.
pub(super) fn takes_the_line(name: &[u8]) -> bool {
    WHOLE_LINE.contains(&Words::of(name).joined.as_str())
}

/// Whether an operation of this name is called with a password that has no name of its own.
pub(super) fn is_called_with_a_password(method: &[u8]) -> bool {
    let method = String::from_utf8_lossy(method).to_ascii_lowercase();
    let last = method.rsplit(['.', ':', '/']).next().unwrap_or_default();
    let in_any = ["login", "logon", "signin", "sign_in", "authenticate", "passw"];
    in_any.iter().any(|word| last.contains(word)) || matches!(last, "execute" | "execute_kw")
}

fn announces(words: &Words) -> bool {
    let joined = words.joined.as_str();
    let last = words.list.last().map_or("", String::as_str);
    if words.list.len() > 1 && ABOUT.contains(&last) {
        return false;
    }
    let inside = INSIDE.iter().any(|part| joined.contains(part)) && !is_about_a_secretary(joined);
    inside
        || words.list.iter().any(|word| WORD.contains(&word.as_str()))
        || LAST_WORD.contains(&last)
        || WHOLE.contains(&joined)
        || joined.ends_with("token")
        || SECOND_FACTOR.iter().any(|part| joined.contains(part))
}

fn is_about_a_secretary(joined: &str) -> bool {
    joined.contains("secretar") && joined.matches("secret").count() == 1 && !joined.contains("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(&RedactionLists {
            headers: vec!["X-Acme".into()],
            fields: vec!["bank_Pass-Line".into(), "iban".into()],
        })
    }

    #[test]
    fn every_spelling_of_a_secret_name_is_seen() {
        for name in [
            "password",
            "PASSWORD",
            "passWord",
            "Password2",
            "newPassword",
            "user[password]",
            "wsse:Password",
            "pwd",
            "api_key",
            "x-api-key",
            "APIKey",
            "apiKey",
            "client_secret",
            "access_token",
            "accessToken",
            "csrfToken",
            "csrfmiddlewaretoken",
            "X-CSRF-Token",
            "JSESSIONID",
            "tryton_session",
            "id_token",
            "pass\\u0077ord",
            "%70assword",
            "p%2561ssword",
            "ｐａｓｓｗｏｒｄ",
            "user.pin",
            "pass",
            "auth",
            "Authorization",
            "bankPassLine",
            "user[iban]",
            "x_acme",
            "totp",
            "code_verifier",
            "2fa_code",
            "secrets",
            "j_password",
            "Set-Cookie",
        ] {
            assert!(names().is_secret(name.as_bytes(), Place::Field), "{name}");
        }
    }

    #[test]
    fn ordinary_names_stay_readable() {
        for name in [
            "name",
            "user",
            "login",
            "code",
            "key",
            "client_id",
            "expires_in",
            "token_type",
            "scope",
            "secretary",
            "author",
            "passenger",
            "compass",
            "pinned",
            "shipping",
            "password_policy",
            "jsonrpc",
            "state",
            "",
            "🙂",
        ] {
            assert!(!names().is_secret(name.as_bytes(), Place::Field), "{name}");
        }
    }

    #[test]
    fn a_code_is_a_secret_as_a_parameter_only() {
        assert!(names().is_secret(b"code", Place::Parameter));
        assert!(!names().is_secret(b"country_code", Place::Parameter));
    }

    #[test]
    fn headers_that_carry_credentials_are_seen() {
        for name in ["authorization", "Proxy-Authorization", "WWW-Authenticate", "cookie", "X-Auth-Token", "x-acme"] {
            assert!(names().is_secret_header(name), "{name}");
        }
        for name in ["traceparent", "location", "content-type", "x-request-id", "idempotency-key", "user-agent"] {
            assert!(!names().is_secret_header(name), "{name}");
        }
    }
}
