//! Comments: the kernel keeps them as opaque user data, in which `nft` writes type, length, value
//! (`libnftnl/include/libnftnl/udata.h`).

/// What `nft` accepts in a comment (`NFTNL_UDATA_COMMENT_MAXLEN`), in bytes.
pub const COMMENT_MAX: usize = 128;

const TABLE_COMMENT: u8 = 0;
const CHAIN_COMMENT: u8 = 0;
const RULE_COMMENT: u8 = 0;
const ELEMENT_COMMENT: u8 = 0;
const SET_KEY_BYTE_ORDER: u8 = 0;
const SET_DATA_BYTE_ORDER: u8 = 1;
const SET_COMMENT: u8 = 7;

pub(super) fn table(comment: &str) -> Vec<u8> {
    text(TABLE_COMMENT, comment)
}

pub(super) fn chain(comment: &str) -> Vec<u8> {
    text(CHAIN_COMMENT, comment)
}

pub(super) fn rule(comment: &str) -> Vec<u8> {
    text(RULE_COMMENT, comment)
}

pub(super) fn element(comment: &str) -> Vec<u8> {
    text(ELEMENT_COMMENT, comment)
}

/// A set's user data: how its keys (and a map's data) are to be read, and the comment.
pub(super) fn set(key_order: u32, data_order: Option<u32>, comment: Option<&str>) -> Vec<u8> {
    let mut bytes = word(SET_KEY_BYTE_ORDER, key_order);
    if let Some(order) = data_order {
        bytes.extend(word(SET_DATA_BYTE_ORDER, order));
    }
    if let Some(comment) = comment {
        bytes.extend(text(SET_COMMENT, comment));
    }
    bytes
}

/// The longest beginning of `comment` that fits, ending between characters.
#[must_use]
pub fn cut(comment: &str) -> &str {
    let end = comment.len().min(COMMENT_MAX);
    let end = (0..=end).rev().find(|end| comment.is_char_boundary(*end)).unwrap_or(0);
    &comment[..end]
}

/// The part of a tag that tells owners apart: what stands before the first comma.
#[must_use]
pub fn owner(tag: &str) -> &str {
    let tag = cut(tag);
    tag.split_once(',').map_or(tag, |(owner, _)| owner)
}

/// The comment of a rule or an element.
pub(super) fn comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == RULE_COMMENT {
            let value = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        rest = &tail[usize::from(*length)..];
    }
    None
}

fn text(kind: u8, comment: &str) -> Vec<u8> {
    let mut value = cut(comment).as_bytes().to_vec();
    value.push(0);
    field(kind, &value)
}

fn word(kind: u8, value: u32) -> Vec<u8> {
    field(kind, &value.to_ne_bytes())
}

/// Every value is a word or a cut comment, so its length fits a byte.
fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, u8::try_from(value.len()).unwrap_or(u8::MAX)];
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_cut_between_characters_and_read_back() {
        let long = "é".repeat(100);
        assert_eq!(cut(&long).len(), COMMENT_MAX);
        assert_eq!(cut(&format!("x{long}")).len(), COMMENT_MAX - 1);
        assert_eq!(comment(&element(&long)).as_deref(), Some(cut(&long)));
        assert_eq!(comment(&rule("")).as_deref(), Some(""));
    }

    #[test]
    fn broken_user_data_has_no_comment() {
        let mut found = vec![9, 2, 1, 1];
        assert_eq!(comment(&found), None);
        found.extend([0, 200, b'x']);
        assert_eq!(comment(&found), None);
        assert_eq!(comment(&[0]), None);
        assert_eq!(comment(&[]), None);
    }
}
