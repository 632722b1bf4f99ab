//! Types that are written in JSON as people write them.

/// Serialises each type as its `Display` text and reads it back by its `FromStr`, so that JSON, flags and messages agree on
/// one spelling, and nothing that the parser refuses comes in by a file.
macro_rules! written_as_text {
    ($($name:ident),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

pub(crate) use written_as_text;
