//! On whose behalf: the agent's name and its conversation on everything that is done for it.

use pipeline::{Kind, Observation, observation::OnBehalf};

use super::world::{World, results, user};

fn of(world: &World, pid: u32, what: fn(&Kind) -> bool) -> Vec<OnBehalf> {
    let found = world.out.iter().filter(|seen| seen.process.key.tgid == pid && what(&seen.kind));
    found.map(|seen: &Observation| seen.agent.as_deref().cloned().unwrap_or_default()).collect()
}

fn is_process(kind: &Kind) -> bool {
    matches!(kind, Kind::Process(_))
}

#[test]
fn everything_below_a_turn_has_its_agent_and_conversation() {
    let mut world = World::new();
    world.found(9, 1, &["bash"]);
    world.spawn(10, 9, &["claude-code"]);
    // Before the first call only the name is known.
    world.spawn(20, 10, &["git", "status"]);
    world.exit(20, 0);
    world.call(10, user(&[1]).conversation("c1").asks("t1", "make -j2 && ls"));
    world.spawn(11, 10, &["sh", "-c", "make -j2 && ls"]);
    world.spawn(12, 11, &["make", "-j2"]);
    world.exit(12, 0);
    world.exit(11, 0);
    world.call(10, results(&[1, 2, 3], &["t1"]).conversation("c1"));
    world.spawn(30, 9, &["ls"]);
    let name = || Some("claude-code".to_owned());
    let conversation_id = || Some("c1".to_owned());
    assert!(of(&world, 20, is_process).iter().all(|agent| *agent == OnBehalf { name: name(), conversation_id: None }));
    for pid in [11, 12] {
        let agents = of(&world, pid, is_process);
        assert!(agents.len() >= 2);
        for agent in agents.into_iter().filter(|agent| agent.conversation_id.is_some()) {
            assert_eq!(agent, OnBehalf { name: name(), conversation_id: conversation_id() });
        }
        assert_eq!(of(&world, pid, is_process).last().unwrap().conversation_id, conversation_id());
    }
    for agent in of(&world, 10, |kind| matches!(kind, Kind::ModelCall(_) | Kind::ToolCall(_) | Kind::AgentTurn(_))) {
        assert_eq!(agent, OnBehalf { name: name(), conversation_id: conversation_id() });
    }
    // Somebody else's.
    assert!(of(&world, 30, is_process).iter().all(|agent| *agent == OnBehalf::default()));
}
