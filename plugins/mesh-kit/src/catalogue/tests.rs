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
    support_ends: &[("1.8", "2025-01-31"), ("1.9", "2025-06-30")],
};

fn held(name: &str, version: &str) -> ChartFact {
    ChartFact {
        name: name.into(),
        version: version.into(),
        app_version: version.into(),
        sha256: "bb".into(),
        ..ChartFact::default()
    }
}

fn in_index(name: &str, version: &str) -> ChartFact {
    ChartFact {
        sha256: "cc".into(),
        kubernetes: ">=1.33.0-0".into(),
        repository: CATALOGUE.repository.into(),
        ..held(name, version)
    }
}

fn mirror(charts: &[ChartFact]) -> Facts {
    Facts {
        charts: charts.to_vec(),
        ..Facts::default()
    }
}

fn index(listed: &[ChartFact]) -> Facts {
    Facts {
        listed: listed.to_vec(),
        ..Facts::default()
    }
}

#[test]
fn without_a_wish_the_newest_release_is_chosen_by_number_and_not_by_letter() {
    let chosen = CATALOGUE.choose("", &["a", "b"], &Facts::default()).unwrap();
    assert_eq!(
        (chosen.version.to_string().as_str(), chosen.source),
        ("1.10.0", Source::Pinned)
    );
}

#[test]
fn a_candidate_is_chosen_only_when_asked_for() {
    let chosen = CATALOGUE
        .choose("v2.0.0-rc.1", &["a"], &Facts::default())
        .unwrap();
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
    let mirror = mirror(&[held("a", "1.11.0"), held("b", "1.11.0"), held("a", "1.12.0")]);
    let chosen = CATALOGUE.choose("", &["a", "b"], &mirror).unwrap();
    assert_eq!(
        (chosen.version.to_string().as_str(), chosen.source),
        ("1.11.0", Source::Mirror)
    );
    assert_eq!(chosen.chart("b").unwrap().sha256, "bb");
}

#[test]
fn a_pinned_digest_counts_more_than_the_mirrors() {
    let mirror = mirror(&[held("a", "1.10.0"), held("b", "1.10.0")]);
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
    let chosen = UNPINNED
        .choose("1.10.0", &["a"], &mirror(&[held("a", "1.10.0")]))
        .unwrap();
    assert_eq!(chosen.chart("a").unwrap().sha256, "bb");
    assert_eq!(
        (chosen.source, chosen.kubernetes.as_str()),
        (Source::Pinned, ">=1.30")
    );
    let other = UNPINNED
        .choose("1.10.0", &["a"], &mirror(&[held("a", "1.9.0")]))
        .unwrap();
    assert_eq!(other.chart("a").unwrap().sha256, "");
}

#[test]
fn a_version_the_mirror_holds_in_part_is_refused_with_what_is_missing() {
    let error = CATALOGUE
        .choose("1.12.0", &["a", "b"], &mirror(&[held("a", "1.12.0")]))
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
        let error = CATALOGUE.choose(asked, &["a"], &Facts::default()).unwrap_err();
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
    let error = empty.choose("", &["a"], &Facts::default()).unwrap_err();
    assert_eq!(error.code, "unknown-version");
    assert!(!error.remedy.is_empty());
}

#[test]
fn a_chart_that_was_not_asked_for_is_an_error() {
    let chosen = CATALOGUE.choose("", &["a"], &Facts::default()).unwrap();
    assert_eq!(chosen.chart("b").unwrap_err().code, "chart-unknown");
}

#[test]
fn what_an_index_lists_is_chosen_by_its_name_only_and_says_so() {
    let facts = index(&[
        in_index("a", "1.11.0"),
        in_index("b", "1.11.0"),
        in_index("a", "1.12.0"),
    ]);
    assert_eq!(
        CATALOGUE
            .choose("", &["a", "b"], &facts)
            .unwrap()
            .version
            .to_string(),
        "1.10.0"
    );
    let chosen = CATALOGUE.choose("v1.11.0", &["a", "b"], &facts).unwrap();
    assert_eq!(
        (chosen.source, chosen.kubernetes.as_str()),
        (Source::Repository, ">=1.33.0-0")
    );
    assert_eq!(chosen.chart("a").unwrap().sha256, "cc");
    let note = chosen.note("Lattice 1.11.0").unwrap();
    assert!(
        note.contains("index only") && note.contains(">=1.33.0-0"),
        "{note}"
    );
    let error = CATALOGUE.choose("1.12.0", &["a", "b"], &facts).unwrap_err();
    assert!(
        error
            .remedy
            .contains("choose one of 2.0.0-rc.1, 1.11.0, 1.10.0, 1.9.0"),
        "{error:?}"
    );
    assert!(
        error
            .cause
            .contains("the repository lists a of that version, but not b"),
        "{error:?}"
    );
}

#[test]
fn an_index_of_another_repository_adds_nothing() {
    let mut other = in_index("a", "1.11.0");
    other.repository = "https://other.example".into();
    assert!(CATALOGUE.choose("1.11.0", &["a"], &index(&[other])).is_err());
}

#[test]
fn an_index_says_the_digest_where_none_is_pinned_and_the_mirror_has_none() {
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
    let mut facts = index(&[in_index("a", "1.10.0")]);
    let digest = |facts: &Facts| {
        UNPINNED
            .choose("", &["a"], facts)
            .unwrap()
            .chart("a")
            .unwrap()
            .sha256
    };
    assert_eq!(digest(&facts), "cc");
    facts.charts.push(held("a", "1.10.0"));
    assert_eq!(digest(&facts), "bb");
    let pinned = CATALOGUE.choose("1.10.0", &["a"], &facts).unwrap();
    assert_eq!(pinned.chart("a").unwrap().sha256, "aa");
}

#[test]
fn support_has_ended_the_day_after_its_last_and_older_lines_with_it() {
    let ended = |version: &str, now: &str| {
        CATALOGUE
            .ended(&Version::parse(version).unwrap(), now)
            .map(|finding| format!("{} {}", finding.message, finding.remedy))
    };
    assert_eq!(ended("1.9.4", "2025-06-30T23:00:00Z"), None);
    let found = ended("1.9.4", "2025-07-01T00:00:00Z").unwrap();
    assert!(
        found.contains("ended on 2025-06-30") && found.contains("such as 1.10.0"),
        "{found}"
    );
    let found = ended("1.3.0", "2025-07-01T00:00:00Z").unwrap();
    assert!(found.contains("at the latest on 2025-01-31"), "{found}");
    assert_eq!(ended("1.10.0", "2030-01-01T00:00:00Z"), None);
    assert_eq!(ended("1.3.0", ""), None);
    assert_eq!(CATALOGUE.end_of_life(&Version::new(1, 9, 9)), Some("2025-06-30"));
}
