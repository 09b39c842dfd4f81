use super::*;

const fn chart(name: &'static str, version: &'static str) -> PinnedChart {
    PinnedChart {
        name,
        version,
        sha256: "aa",
    }
}

const fn version(version: &'static str, charts: &'static [PinnedChart]) -> PinnedVersion {
    PinnedVersion {
        version,
        kubernetes: ">=1.30",
        charts,
    }
}

const CATALOGUE: Catalogue = Catalogue {
    mesh: "Lattice",
    repository: "https://charts.example",
    pinned: &[
        version("1.9.0", &[chart("a", "1.9.0"), chart("b", "1.9.0")]),
        version("1.10.0", &[chart("a", "1.10.0"), chart("b", "1.10.0")]),
        version(
            "2.0.0-rc.1",
            &[chart("a", "2.0.0-rc.1"), chart("b", "2.0.0-rc.1")],
        ),
    ],
};

fn held(name: &str, version: &str) -> ChartFact {
    ChartFact {
        name: name.into(),
        version: version.into(),
        app_version: version.into(),
        sha256: "bb".into(),
    }
}

#[test]
fn without_a_wish_the_newest_release_is_chosen_by_number_and_not_by_letter() {
    let chosen = CATALOGUE.choose("", &["a", "b"], &[]).unwrap();
    assert_eq!(
        (chosen.version.to_string().as_str(), chosen.pinned),
        ("1.10.0", true)
    );
}

#[test]
fn a_candidate_is_chosen_only_when_asked_for() {
    let chosen = CATALOGUE.choose("v2.0.0-rc.1", &["a"], &[]).unwrap();
    assert_eq!(chosen.version.to_string(), "2.0.0-rc.1");
}

#[test]
fn versions_are_listed_newest_first_with_candidates_marked() {
    let listed: Vec<(String, bool)> = CATALOGUE
        .versions()
        .into_iter()
        .map(|v| (v.version, v.stable))
        .collect();
    assert_eq!(
        listed,
        [
            ("2.0.0-rc.1".into(), false),
            ("1.10.0".into(), true),
            ("1.9.0".into(), true)
        ]
    );
}

#[test]
fn the_mirror_adds_versions_it_holds_in_full_with_their_digest() {
    let mirror = [held("a", "1.11.0"), held("b", "1.11.0"), held("a", "1.12.0")];
    let chosen = CATALOGUE.choose("", &["a", "b"], &mirror).unwrap();
    assert_eq!(
        (chosen.version.to_string().as_str(), chosen.pinned),
        ("1.11.0", false)
    );
    assert_eq!(chosen.chart("b").unwrap().sha256, "bb");
}

#[test]
fn a_pinned_digest_counts_more_than_the_mirrors() {
    let mirror = [held("a", "1.10.0"), held("b", "1.10.0")];
    let chosen = CATALOGUE.choose("1.10.0", &["a", "b"], &mirror).unwrap();
    assert_eq!(chosen.chart("a").unwrap().sha256, "aa");
}

#[test]
fn where_no_digest_is_pinned_the_mirrors_is_taken_and_the_rest_stays_pinned() {
    const UNPINNED: Catalogue = Catalogue {
        pinned: &[version(
            "1.10.0",
            &[PinnedChart {
                name: "a",
                version: "1.10.0",
                sha256: "",
            }],
        )],
        ..CATALOGUE
    };
    let chosen = UNPINNED.choose("1.10.0", &["a"], &[held("a", "1.10.0")]).unwrap();
    assert_eq!(chosen.chart("a").unwrap().sha256, "bb");
    assert_eq!((chosen.pinned, chosen.kubernetes.as_str()), (true, ">=1.30"));
    let other = UNPINNED.choose("1.10.0", &["a"], &[held("a", "1.9.0")]).unwrap();
    assert_eq!(other.chart("a").unwrap().sha256, "");
}

#[test]
fn a_version_the_mirror_holds_in_part_is_refused_with_what_is_missing() {
    let error = CATALOGUE
        .choose("1.12.0", &["a", "b"], &[held("a", "1.12.0")])
        .unwrap_err();
    assert_eq!(error.code, "unknown-version");
    assert!(
        error.cause.contains("holds a of that version, but not b"),
        "{error:?}"
    );
}

#[test]
fn an_unknown_version_is_refused_with_those_near_it_and_never_replaced() {
    for asked in ["1.99.0", "newest", "1.10"] {
        let error = CATALOGUE.choose(asked, &["a"], &[]).unwrap_err();
        assert_eq!(error.code, "unknown-version");
        assert!(error.message.contains(asked), "{error:?}");
        assert!(
            error.remedy.contains("choose one of 2.0.0-rc.1, 1.10.0, 1.9.0"),
            "{error:?}"
        );
    }
}

#[test]
fn an_empty_catalogue_is_an_error_and_no_panic() {
    let empty = Catalogue {
        pinned: &[],
        ..CATALOGUE
    };
    let error = empty.choose("", &["a"], &[]).unwrap_err();
    assert_eq!(error.code, "unknown-version");
    assert!(!error.remedy.is_empty());
}

#[test]
fn a_chart_that_was_not_asked_for_is_an_error() {
    let chosen = CATALOGUE.choose("", &["a"], &[]).unwrap();
    assert_eq!(chosen.chart("b").unwrap_err().code, "chart-unknown");
}
