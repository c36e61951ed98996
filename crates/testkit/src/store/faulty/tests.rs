use super::*;
use fanfare_core::AccountId;
use fanfare_core::webhook::Account;

/// Dies at the second commit, before it or when it is made; refuses redrives.
struct Mortal {
    commits: Mutex<u32>,
    fate: CommitFate,
    told: Mutex<Vec<String>>,
}

impl Faults for Mortal {
    fn at_call(&self, call: Call) -> Verdict {
        if call == Call::Redrive { Verdict::Refuse(StoreError::Busy) } else { Verdict::Take }
    }

    fn commit_time(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn at_commit(&self) -> CommitFate {
        let mut commits = self.commits.lock();
        *commits += 1;
        if *commits == 2 { self.fate } else { CommitFate::Go }
    }

    fn answer_time(&self, _: Call) -> Duration {
        Duration::ZERO
    }

    fn handed(&self, _: &SettleBatch) {}

    fn committed(&self, done: &Done<'_>) {
        self.told.lock().push(format!("{done:?}").chars().take(6).collect());
    }

    fn change_answered(&self, _: &[CatalogChange]) {
        self.told.lock().push("answer".into());
    }

    fn crashed(&self) {
        self.told.lock().push("crash".into());
    }
}

fn put(name: &str) -> Vec<CatalogChange> {
    let id = AccountId::parse(name).expect("an id");
    vec![CatalogChange::PutAccount(Account { id, role: "x".into() })]
}

fn accounts(memory: &MemoryStore) -> usize {
    let mut count = 0;
    let counts = &mut |entry| count += usize::from(matches!(entry, CatalogEntry::Account(_)));
    memory.load(counts).expect("it can be read");
    count
}

#[tokio::test(start_paused = true)]
async fn what_is_not_committed_dies_with_the_process_and_what_is_may_go_unanswered() {
    for (fate, left, told) in [
        (CommitFate::CrashBefore, 1, vec!["Change", "answer", "crash"]),
        (CommitFate::CrashAfter, 2, vec!["Change", "answer", "Change", "crash"]),
    ] {
        let memory = MemoryStore::new();
        let faults = Arc::new(Mortal { commits: Mutex::new(0), fate, told: Mutex::default() });
        let store = FaultyStore::start(Arc::clone(&memory), Arc::clone(&faults) as _);
        store.change(put("a")).await.expect("the first commit is made");
        let second = tokio::time::timeout(Duration::from_secs(9), store.change(put("b"))).await;
        assert!(second.is_err(), "the dead do not answer");
        assert_eq!(store.settle(SettleBatch::default()).map_err(drop), Ok(()), "nor complain");
        assert_eq!(accounts(&memory.reopen()), left);
        assert_eq!(*faults.told.lock(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_one_commit_and_a_refused_one_was_never_made() {
    let fate = CommitFate::Go;
    let faults = Arc::new(Mortal { commits: Mutex::new(0), fate, told: Mutex::default() });
    let store = FaultyStore::start(MemoryStore::new(), Arc::clone(&faults) as _);
    let begun = tokio::time::Instant::now();
    let (first, second) = (store.change(put("a")), store.change(put("b")));
    first.await.expect("made");
    second.await.expect("made");
    assert_eq!((begun.elapsed(), *faults.commits.lock()), (Duration::from_millis(20), 1));
    let request = RedriveRequest::Many(Default::default());
    assert_eq!(store.redrive(WebhookNo(1), request, 0).await, Err(StoreError::Busy));
    assert_eq!(*faults.commits.lock(), 1);
}
