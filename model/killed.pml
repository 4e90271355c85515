/*
 * A killed process that does not end: does what is seen of it prove that it executes nothing more?
 *
 * A process of up to three threads on a Linux kernel. Each executes (in user mode, or a guest in
 * guest mode), is in the kernel, waits there where only its I/O wakes it (D), or sleeps (S). At some
 * moment somebody may send SIGKILL. An observer reads one file of one thread at a time, and its list
 * of threads may lack one of them, since some may end while it is made; it knows how many there were
 * when it first read one that dies of SIGKILL. Once it has concluded that nothing executes any more, nothing ever may. Written from what the kernel does
 * (docs/design/2026-11-30-killed-and-held.md); not from the program.
 *
 * Nothing has to happen: a processor that executes may hear of the kill as late as it likes, and what
 * waits may wait for ever, or go on at any moment.
 */

#define THREADS 3
#define LEADER 0

/* of a thread */
#define NONE    0
#define EXECUTES 1      /* in user mode or in guest mode; /proc says R */
#define KERNEL  2       /* on its way through the kernel; R, too */
#define HELD    3       /* it waits, and no signal wakes it: D */
#define SLEEPS  4       /* it waits, and a signal wakes it: S */
#define EXITS   5       /* on its way out (PF_EXITING); it may be held there */
#define GONE    6

#define step(text) printf("\n  "); printf(text)

byte state[THREADS];
bit  pending[THREADS];  /* SIGKILL is */
bit  signalled[THREADS];        /* it has found it, and dies of it (PF_SIGNALED) */
bit  killed;            /* SIGKILL was sent to the process */
bit  seen;              /* the observer has concluded that nothing executes any more */

/* the observer */
bit  evidence;          /* a thread was read that dies of SIGKILL: so all of them do */
byte remain;              /* how many there were then */
bit  listing;           /* it has a list */
bit  listed[THREADS];
bit  read[THREADS];

#define ALIVE(i) (state[i] != NONE && state[i] != GONE)

inline check() {
    assert(!seen || (state[0] != EXECUTES && state[1] != EXECUTES && state[2] != EXECUTES))
#ifdef NEVER_SEEN
    ; assert(!seen)
#endif
}

inline thread(i) {
    if
    :: d_step { state[i] == EXECUTES -> step("a thread enters the kernel"); state[i] = KERNEL }
    /* On the way back it looks whether a signal is pending, into guest mode too. */
    :: d_step { state[i] == KERNEL && !pending[i] -> step("a thread executes"); state[i] = EXECUTES;
        check() }
    :: d_step { state[i] == KERNEL -> step("a thread waits for I/O"); state[i] = HELD }
    :: d_step { state[i] == HELD -> step("its I/O ends"); state[i] = KERNEL }
    :: d_step { state[i] == KERNEL && !pending[i] -> step("a thread sleeps"); state[i] = SLEEPS }
    :: d_step { state[i] == SLEEPS -> step("a thread wakes up"); state[i] = KERNEL }
    :: d_step { state[i] == KERNEL && pending[i] -> step("a thread finds SIGKILL");
        pending[i] = 0; signalled[i] = 1; state[i] = EXITS }
    :: d_step { state[i] == KERNEL && !pending[i] -> step("a thread exits by itself");
        state[i] = EXITS }
    :: d_step { state[i] == EXITS -> step("a thread is gone"); state[i] = GONE }
    /* clone(2) looks once more, with the lock held under which a kill is sent */
    :: d_step { state[i] == KERNEL && !pending[i] && state[i + 1] == NONE -> step("a thread makes another");
        state[i + 1] = EXECUTES; check() }
    fi
}

inline last_thread() {
    if
    :: d_step { state[2] == EXECUTES -> step("the last one enters the kernel"); state[2] = KERNEL }
    :: d_step { state[2] == KERNEL && !pending[2] -> step("the last one executes"); state[2] = EXECUTES;
        check() }
    :: d_step { state[2] == KERNEL -> step("the last one waits for I/O"); state[2] = HELD }
    :: d_step { state[2] == HELD -> step("its I/O ends"); state[2] = KERNEL }
    :: d_step { state[2] == KERNEL && pending[2] -> step("the last one finds SIGKILL");
        pending[2] = 0; signalled[2] = 1; state[2] = EXITS }
    :: d_step { state[2] == EXITS -> step("the last one is gone"); state[2] = GONE }
    fi
}

inline killed_by(i) {
    if :: ALIVE(i) && state[i] != EXITS -> pending[i] = 1 :: else fi
}

/* Every thread has it pending before the call returns, and new ones there are none. */
inline kill() {
    d_step { !killed -> step("SIGKILL is sent"); killed = 1;
        killed_by(0); killed_by(1); killed_by(2) }
}

#define COUNT ((ALIVE(0) -> 1 : 0) + (ALIVE(1) -> 1 : 0) + (ALIVE(2) -> 1 : 0))
#define LENGTH (listed[0] + listed[1] + listed[2])

inline forget() {
    evidence = 0; remain = 0; listing = 0;
    listed[0] = 0; listed[1] = 0; listed[2] = 0; read[0] = 0; read[1] = 0; read[2] = 0
}

#define DIES(i) (pending[i] || signalled[i])
#define OUT(i) (state[i] == EXITS || state[i] == GONE)
#ifdef WEAK_RUNNING_COUNTS
#define COUNTS(i) (OUT(i) || pending[i])
#else
#ifdef WEAK_HELD_IS_ENOUGH
#define COUNTS(i) (OUT(i) || state[i] == HELD)
#else
#define COUNTS(i) (OUT(i) || (pending[i] && state[i] == HELD))
#endif
#endif

#if defined(WEAK_NO_EVIDENCE) || defined(WEAK_HELD_IS_ENOUGH)
#define MAY_LIST true
#define PROVEN true
#else
#ifdef WEAK_LISTED_BEFORE
#define MAY_LIST true
#define PROVEN evidence
#else
#define MAY_LIST evidence
#ifdef WEAK_LEADER_ALONE
#define PROVEN true
#else
#ifdef WEAK_NOT_COUNTED
#define WHOLE true
#else
#define WHOLE (LENGTH == remain)
#endif
#define PROVEN WHOLE
#endif
#endif
#endif

#ifdef WEAK_LEADER_ALONE
#define LISTED(i) (i == LEADER)
#else
#define LISTED(i) ALIVE(i)
#endif

#define ALL_READ ((!listed[0] || read[0]) && (!listed[1] || read[1]) && (!listed[2] || read[2]))

inline reads(i) {
    if
    :: d_step { ALIVE(i) && DIES(i) && !evidence -> step("it is read that a thread dies of SIGKILL");
        evidence = 1; remain = COUNT }
    :: d_step { listing && listed[i] && !read[i] && COUNTS(i) -> step("a thread is read: it is out");
        read[i] = 1 }
    :: d_step { listing && listed[i] && !read[i] && !COUNTS(i) -> step("a thread is read: it may execute");
        forget() }
    fi
}

inline listed_but(i) {
    d_step { !listing && !seen && MAY_LIST -> step("the threads are listed"); listing = 1;
        listed[0] = LISTED(0) && i != 0; listed[1] = LISTED(1) && i != 1;
        listed[2] = LISTED(2) && i != 2 }
}

inline observer() {
    if
    :: listed_but(THREADS)
#ifdef WHOLE
    :: listed_but(0)
    :: listed_but(1)
    :: listed_but(2)
#endif
    :: reads(0)
    :: reads(1)
    :: reads(2)
#ifdef WEAK_SENT_IS_ENOUGH
    :: d_step { killed && !seen -> step("it was killed, and that is enough"); seen = 1; check() }
#endif
    :: d_step { listing && ALL_READ && PROVEN && !seen -> step("nothing executes any more");
        forget(); seen = 1; check() }
    fi
}

active proctype System() {
    d_step { state[0] = EXECUTES; state[1] = EXECUTES }
end: do
    :: thread(0)
    :: thread(1)
    :: last_thread()
    :: kill()
    :: observer()
    od
}
