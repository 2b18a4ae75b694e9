use super::catalog::read;
use super::*;

fn remote(path: &str) -> RemoteFile {
    RemoteFile { path: path.into(), size: 1, sha256: "0".repeat(64), url: String::new() }
}

fn wanted(ty: Option<&str>) -> Wanted {
    Wanted { repo: "o/r".into(), ty: ty.map(str::to_owned) }
}

#[test]
fn the_catalog_is_whole() {
    let names: Vec<&str> = catalog().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen2.5-vl-32b", "qwen2.5-vl-72b"]);
    for entry in catalog() {
        let by_repo = Wanted::parse(&entry.repo).expect("a repository");
        assert_eq!(by_repo, Wanted::parse(&entry.name).expect("a name"));
        assert_eq!(by_repo.ty.as_deref(), Some(entry.ty.as_str()));
        assert!(bits_per_weight(&entry.ty).is_some() && entry.weights > 3_000_000_000 && entry.context == 128_000);
    }
    assert!(read("[a]\nrepo = 1\n").is_empty() && read("]").is_empty());
}

#[test]
fn a_type_is_chosen_by_its_whole_name() {
    let files: Vec<RemoteFile> =
        ["m-Q8_0.gguf", "m-q4_k_m.gguf", "m-Q4_K_S.gguf", "m-F16.gguf", "mmproj-m-Q8_0.gguf", "mmproj-m-f16.gguf"]
            .map(remote)
            .into();
    let chosen = |ty: Option<&str>| {
        let (texts, tower) = choose(&wanted(ty), &files).expect("there");
        (texts.into_iter().map(|f| f.path).collect::<Vec<_>>(), tower.map(|f| f.path))
    };
    let tower = Some("mmproj-m-f16.gguf".to_owned());
    assert_eq!(chosen(Some("Q4_K_M")), (vec!["m-q4_k_m.gguf".into()], tower.clone()));
    assert_eq!(chosen(Some("q4_k_s")), (vec!["m-Q4_K_S.gguf".into()], tower.clone()));
    assert_eq!(chosen(Some("F16")), (vec!["m-F16.gguf".into()], tower.clone()));
    assert_eq!(chosen(None), (vec!["m-q4_k_m.gguf".into()], tower));
    let none = choose(&wanted(Some("Q4_K")), &files).expect_err("only as a part of others");
    assert!(none.to_string().contains("it has F16, Q4_K_M, Q4_K_S, Q8_0"), "{none}");
}

#[test]
fn all_parts_of_a_split_model_are_chosen_and_no_other_model() {
    let files = ["Q8_0/m-Q8_0-00002-of-00002.gguf", "Q8_0/m-Q8_0-00001-of-00002.gguf", "other-Q8_0.gguf"].map(remote);
    let (texts, tower) = choose(&wanted(Some("Q8_0")), &files).expect("there");
    let paths: Vec<&str> = texts.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"]);
    assert!(tower.is_none());
    let (alone, _) = choose(&wanted(None), &[remote("model.gguf")]).expect("there is but one");
    assert_eq!(alone[0].path, "model.gguf");
    assert!(choose(&wanted(None), &[remote("a.gguf"), remote("b.gguf")]).is_err());
    assert!(choose(&wanted(None), &[]).is_err());
}

#[test]
fn only_repositories_and_known_names_are_names() {
    let parsed = Wanted::parse("Owner-1/Re.po_2:IQ4_XS").expect("fits");
    assert_eq!(parsed, Wanted { repo: "Owner-1/Re.po_2".into(), ty: Some("IQ4_XS".into()) });
    for wrong in
        ["", "x", "a/b/c", "/b", "a/", "../b", "a/..", "a/.git", "a/b:", "a/b:x/y", "a b/c", "a/b?c", "a/b#c", "a/ü"]
    {
        assert!(Wanted::parse(wrong).is_err(), "{wrong}");
    }
}
