//! Failures along the way that are no reason to stop: DEL and GC go on, so that one stubborn thing does not keep the
//! others alive, and report all of them at the end.

use cni::{Code, Error};

/// What has failed so far.
#[derive(Debug, Default)]
pub struct Failures(Vec<Error>);

impl Failures {
    /// Keeps a failure, if it is one.
    pub fn note(&mut self, result: Result<(), Error>) {
        self.0.extend(result.err());
    }

    /// Success, or what failed.
    ///
    /// # Errors
    ///
    /// The only failure as it is; several as one, a line each, with the code of the first.
    pub fn into_result(mut self) -> Result<(), Error> {
        match self.0.len() {
            0 => Ok(()),
            1 => self.0.pop().map_or(Ok(()), Err),
            _ => {
                let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
                let code = self.0.first().map_or(Code::INTERNAL, |error| error.code);
                Err(Error::new(code, texts.join("\n")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_are_told() {
        let mut failures = Failures::default();
        failures.note(Ok(()));
        assert!(Failures::default().into_result().is_ok());
        let first = Error::new(Code::TRY_AGAIN_LATER, "first").with_details("why");
        failures.note(Err(first.clone()));
        assert_eq!(Failures(failures.0.clone()).into_result().unwrap_err(), first);
        failures.note(Err(Error::internal("second")));
        let all = failures.into_result().unwrap_err();
        assert_eq!((all.code, all.msg.as_str()), (Code::TRY_AGAIN_LATER, "first; why\nsecond"));
    }
}
