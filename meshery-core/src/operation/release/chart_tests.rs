//! The tests that the charts of releases bring, run on demand.
//!
//! A chart without tests is said to have none: an operation that runs nothing must not look like one that has passed.

use meshery_plugin_api::message::plan::TestRelease;

use super::existing::{Existing, no_release};
use super::steps::Chain;
use crate::cluster::chart::{Hook, recorded};
use crate::operation::plan::resolve::{Resolved, Resolver};
use crate::operation::plan::stored::{ReleaseName, Work};
use crate::problem::{Problem, ProblemKind};

impl Resolver<'_> {
    /// The tests of a release, and what its record says of them then; nothing when its chart brings none.
    pub(in crate::operation) async fn tests(
        &self,
        chain: &mut Chain<'_>,
        release: &TestRelease,
        resolved: &mut Resolved,
    ) -> Result<Option<Work>, Problem> {
        let name = ReleaseName {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
        };
        let existing = Existing::read(self, &name).await?;
        let (Some(record), Some(latest)) = (existing.record(), existing.latest()) else {
            return Err(no_release(&name));
        };
        let recorded = recorded(&name.name, "", &record.hooks())?;
        // Helm's older word for the same.
        let tests: Vec<Hook> = recorded
            .tests
            .into_iter()
            .chain(recorded.hooks.into_iter().filter(Hook::is_test))
            .map(|test| Hook {
                events: vec!["test".into()],
                ..test
            })
            .collect();
        let Some(work) = self.hooks(chain.id(), &name, "test", &tests, resolved).await? else {
            return Ok(None);
        };
        let title = chain.title.clone();
        chain.add("tests", title, work);
        chain.title = format!("Record when the tests of release {} ran", name.name);
        Ok(Some(Work::TestRuns {
            secret: latest.secret.clone(),
            hooks: chain.hooks(),
        }))
    }
}

/// That the chart of a release brings no tests.
pub(in crate::operation) fn none_of(release: &TestRelease) -> String {
    format!("The chart of release {} brings no tests.", release.name)
}

/// An error when a plan is there to test releases and the charts of all of them bring no tests. Of each release, whether there
/// are any.
pub(in crate::operation) fn demand_some(tested: &[(String, bool)]) -> Result<(), Problem> {
    if tested.is_empty() || tested.iter().any(|(_, has_tests)| *has_tests) {
        return Ok(());
    }
    let names: Vec<&str> = tested.iter().map(|(name, _)| name.as_str()).collect();
    let message = match names.as_slice() {
        [only] => format!("the chart of release {only} brings no tests"),
        all => format!("the charts of releases {} bring no tests", all.join(", ")),
    };
    Err(Problem::new(ProblemKind::NotFound, "no-tests", message)
        .cause("a test is an object of the chart with the annotation helm.sh/hook: test")
        .remedy("detection says how an installation is without any"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_would_test_nothing_is_refused_by_name_and_one_that_tests_something_is_not() {
        let tested = |all: &[(&str, bool)]| {
            let all: Vec<(String, bool)> = all.iter().map(|(name, has)| ((*name).into(), *has)).collect();
            demand_some(&all)
        };
        assert!(tested(&[]).is_ok());
        assert!(tested(&[("base", false), ("plane", true)]).is_ok());
        let problem = tested(&[("base", false), ("plane", false)]).unwrap_err();
        assert_eq!(problem.code, "no-tests");
        assert!(problem.message.contains("base, plane"), "{problem}");
    }
}
