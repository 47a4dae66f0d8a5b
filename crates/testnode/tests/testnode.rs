//! The node other tests build on.

use poolbox_testnode::TestNode;

#[test]
fn the_chain_survives_kill_nine_and_the_node_ends_with_its_owner() {
    let mut node = TestNode::regtest();
    assert_eq!(node.cli(&["getblockchaininfo"])["initialblockdownload"], true);
    assert_eq!(node.mine(3).len(), 3);
    assert_eq!(node.cli(&["getblockchaininfo"])["initialblockdownload"], false);
    node.stop();
    node.restart();
    node.kill9();
    assert!(node.try_cli(&["getblockcount"]).is_err());
    node.restart();
    assert_eq!(node.height(), 3);

    let data_dir = node.data_dir().to_owned();
    drop(node);
    assert!(!data_dir.exists());
}

#[test]
fn devnet_has_real_difficulty() {
    let node = TestNode::devnet();
    let hash = node.mine(1).remove(0);
    assert_eq!(node.tip(), hash);
    assert!(hash.starts_with("00000"), "a devnet block takes millions of hashes, got {hash}");
}
