//! The waker of a connection that is driven from another's task.
//!
//! hyper wakes a connection's two ends for every piece that passes between them. Where both are driven in one turn of one task, all but
//! the last of these wakes would have that task run once more for nothing. `Turn::begin` and `Turn::end` frame what is driven: what
//! wakes the connection between them is told by `end`, and what wakes it at any other time wakes the task. No wake is lost,
//! whichever thread it comes from.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Nobody drives it: a wake goes to the task.
const WAITING: u8 = 0;
/// It is driven, and was not woken since.
const DRIVEN: u8 = 1;
/// It is driven, and was woken.
const WOKEN: u8 = 2;

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Shared {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let driven = self.state.compare_exchange(DRIVEN, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if driven == Err(WAITING)
            && let Some(task) = &*self.task()
        {
            task.wake_by_ref();
        }
    }
}

/// The turns of one connection.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    waker: Waker,
    /// The same as in `shared`, to compare without its lock.
    task: Option<Waker>,
}

impl Turn {
    pub(super) fn new() -> Turn {
        let shared = Arc::new(Shared::default());
        Turn { waker: Waker::from(Arc::clone(&shared)), shared, task: None }
    }

    /// What is driven from here on belongs to the task of `context`; it is to be driven with `waker`.
    pub(super) fn begin(&mut self, context: &Context<'_>) {
        let task = context.waker();
        if self.task.as_ref().is_none_or(|known| !known.will_wake(task)) {
            *self.shared.task() = Some(task.clone());
            self.task = Some(task.clone());
        }
        self.shared.state.store(DRIVEN, Ordering::Release);
    }

    /// For the connection.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Ends the turn, unless it was woken meanwhile: then `false`, and the turn goes on.
    pub(super) fn end(&self) -> bool {
        let ended = self.shared.state.compare_exchange(DRIVEN, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if ended.is_err() {
            self.shared.state.store(DRIVEN, Ordering::Release);
        }
        ended.is_ok()
    }

    /// Ends the turn. Whoever calls this drives it again before it waits for it.
    pub(super) fn leave(&self) {
        self.shared.state.store(WAITING, Ordering::Release);
    }

    /// Lets the task go, whose memory its waker would keep.
    pub(super) fn forget(&mut self) {
        self.task = None;
        *self.shared.task() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_wake_in_a_turn_makes_it_go_on_and_others_wake_the_task() {
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let (one, two) = (Waker::from(Arc::clone(&first)), Waker::from(Arc::clone(&second)));
        let mut turn = Turn::new();
        let waker = turn.waker().clone();
        waker.wake_by_ref();
        turn.begin(&Context::from_waker(&one));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!((turn.end(), first.woken()), (false, 0), "the turn goes on");
        assert_eq!((turn.end(), first.woken()), (true, 0));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(first.woken(), 2, "each wake between turns");
        turn.begin(&Context::from_waker(&two));
        waker.wake_by_ref();
        turn.leave();
        waker.wake_by_ref();
        assert_eq!((first.woken(), second.woken()), (2, 1), "the task that drives it now");
        turn.forget();
        waker.wake();
        assert_eq!((first.woken(), second.woken()), (2, 1));
        drop((one, two, turn));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }

    #[test]
    fn no_wake_of_another_thread_is_lost() {
        let task = Arc::new(Task::default());
        let known = Waker::from(Arc::clone(&task));
        let mut turn = Turn::new();
        const WAKES: usize = 5_000;
        let (sent, seen_there) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waking = {
            let (waker, sent, seen) = (turn.waker().clone(), Arc::clone(&sent), Arc::clone(&seen_there));
            std::thread::spawn(move || {
                for number in 1..=WAKES {
                    sent.store(number, Ordering::Release);
                    waker.wake_by_ref();
                    // None comes after it until it has been seen: one that is lost is lost for good.
                    let begun = Instant::now();
                    while seen.load(Ordering::Acquire) < number && begun.elapsed() < Duration::from_secs(60) {
                        std::hint::spin_loop();
                    }
                }
            })
        };
        // As a task is run: when it was woken, until it has seen all that was sent before.
        let mut seen = 0;
        while seen < WAKES {
            turn.begin(&Context::from_waker(&known));
            loop {
                seen = sent.load(Ordering::Acquire);
                seen_there.store(seen, Ordering::Release);
                // The next wake comes before the end of the turn, or after it.
                (0..seen % 100).for_each(|_| std::hint::spin_loop());
                if turn.end() {
                    break;
                }
            }
            let begun = Instant::now();
            while seen < WAKES && task.woken() == 0 {
                assert!(begun.elapsed() < Duration::from_secs(20), "woken after {seen} of {WAKES}");
                std::thread::yield_now();
            }
            task.0.store(0, Ordering::Relaxed);
        }
        waking.join().unwrap();
    }
}
