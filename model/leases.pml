/*
 * Service uniqueness: does a guest ever run in two places?
 *
 * A host A runs the guest and may be lost. A controller C counts its lease, a host B counts how
 * long the replication link has been gone, and takes over. Each counts on a clock of its own; in
 * every tick of the model each clock advances by SLOW or FAST units, as it likes, so no clock runs
 * more than FAST/SLOW times as fast as another. Written from docs/timing.md and rules 10 to 14 of
 * docs/protocol.md; not from the program.
 *
 * Nothing has to happen, except what time enforces: the watchdog's reset, DRBD noticing a dead
 * link. So answers come late or never, C and B pause wherever they like, and requests of A may
 * reach the API long after A has given them up. What a pause of A does is checked with -DPAUSE.
 *
 * The values are small and not the profiles': the inequalities are what is explored.
 */

#ifndef R
#define R 4     /* selfFenceSeconds */
#define Q 2     /* queryFreshnessSeconds */
#define F 2     /* fencingSeconds */
#define W 2     /* watchdogSeconds */
#define D 2     /* linkDetectionSeconds */
#endif
#ifndef SLOW
#define SLOW 2
#define FAST 3
#endif
#define MARGIN 1

/* the inequalities of docs/timing.md, with the ratio 3/2 that is promised, rounded up */
#define RATIO(x) ((3 * (x) + 1) / 2)
#ifndef L
#ifdef WEAK_LEASE_OF_THE_TAKERS_SPEC
#define L (RATIO(R + F + W) / 2)        /* a shorter profile, which A has not heard of yet */
#else
#define L (RATIO(R + F + W) + MARGIN)
#endif
#endif
#ifndef LINK_WAIT
#ifdef WEAK_NO_LINK_WAIT
#define LINK_WAIT 0
#else
#ifdef WEAK_LINK_WAIT_WITHOUT_DETECTION
#define LINK_WAIT (RATIO(Q + F + W) + MARGIN)
#else
#ifdef WEAK_LINK_WAIT_WITHOUT_FRESHNESS
#define LINK_WAIT (RATIO(D + F + W))
#else
#define LINK_WAIT (RATIO(D + Q + F + W) + MARGIN)
#endif
#endif
#endif
#endif

#define step(text) printf("\n  "); printf(text)

/* host A: its guest, and how long ago by A's clock */
bit  a_runs = 1;
bit  a_owns = 1;        /* it is the owner, by the API */
byte renewed;           /* the last confirmed renewal was sent */
byte looked;            /* the last look at the link that showed it connected was asked for */
byte asked;             /* the renewal that is under way was sent */
bit  asking;
bit  arrived;           /* it was carried out, and its answer is under way */

/* the replication link, as it is and as each kernel sees it */
bit  linked = 1;
bit  a_linked = 1;
bit  b_linked = 1;
byte dead;              /* by A's clock: since it died, while A's kernel does not know */

/* controller C, by its clock */
byte unchanged;         /* since it first saw the version of the Lease that it knows */
bit  newer;             /* a newer version exists than the one that C knows */

/* proof that A stopped, written into an assignment */
bit  assigned;
bit  proof_old;         /* the Lease has changed since C wrote it */
bit  fenced;            /* A's own word that it stopped, or a new boot of A */

/* host B, by its clock */
byte gone;              /* since B saw that the link is lost */
bit  b_checked;         /* every condition of the takeover was found true, read, then query */
bit  b_runs;

#ifdef PAUSE
bit  paused;
byte awake = F + W;     /* by A's clock: since the end of the pause */
byte overlap;           /* by A's clock: both executed */
#ifndef RESIDUE
#define RESIDUE (D + Q + F + W)
#endif
#define STANDS paused
#else
#define STANDS false
#endif

#define LEAST(x, y) ((x) < (y) -> (x) : (y))
#define LIMIT (R + F + W)
#define MAY_RUN_BY_LEASE (renewed <= R)
#define MAY_RUN_BY_LINK  (looked <= Q)
/* the watchdog: the last moment at which either was true is F + W ago */
#define RESET_IS_DUE (renewed >= R + F + W && looked >= Q + F + W)

inline check() {
#ifdef PAUSE
    skip
#else
    assert(!(a_runs && b_runs))
#endif
}

inline advance(age, by, limit) {
    if :: age + by >= limit -> age = limit :: else -> age = age + by fi
}

inline a_is_reset() {
    a_runs = 0; asking = 0; arrived = 0; asked = 0; a_linked = 0; linked = 0; dead = 0;
    renewed = LIMIT; looked = LIMIT
}

/* What A's time enforces, unless A stands still. */
inline enforce() {
    if
    :: a_linked && !linked && dead >= D -> a_linked = 0; dead = 0
    :: else
    fi;
#ifndef WEAK_NO_WATCHDOG
    if
    :: a_runs && RESET_IS_DUE
#ifdef PAUSE
        && awake >= F + W
#endif
        -> a_is_reset()
    :: else
    fi
#endif
}

byte a_by; byte b_by; byte c_by;        /* 0 between steps */

inline tick() {
    atomic {
        if :: a_by = SLOW :: a_by = FAST fi;
        if :: b_by = SLOW :: b_by = FAST fi;
        if :: c_by = SLOW :: c_by = FAST fi;
        d_step {
            if :: a_runs -> advance(renewed, a_by, LIMIT); advance(looked, a_by, LIMIT) :: else fi;
            if :: asking -> advance(asked, a_by, LIMIT) :: else fi;
#ifdef PAUSE
            if
            :: !paused && a_runs -> advance(awake, a_by, F + W)
            :: else
            fi;
            if
            :: !paused && a_runs && b_runs -> advance(overlap, a_by, 250)
            :: else -> overlap = 0
            fi;
            if
            :: !paused && a_linked && !linked -> advance(dead, a_by, D)
            :: else
            fi;
            if :: !paused -> enforce() :: else fi;
            /* by samples: what lies between two of them counts to neither end */
            assert(overlap <= RESIDUE);
#else
            if :: a_linked && !linked -> advance(dead, a_by, D) :: else fi;
            enforce();
#endif
            if :: !b_linked && !b_runs -> advance(gone, b_by, LINK_WAIT) :: else fi;
            if :: !newer -> advance(unchanged, c_by, L) :: else fi;
            a_by = 0; b_by = 0; c_by = 0
        }
    }
}

/* ---- A ---- */
inline host_a() {
    if
    :: d_step { !STANDS && a_owns && a_runs && !asking -> step("A sends a renewal");
        asking = 1; arrived = 0; asked = 0 }
    :: d_step { !STANDS && arrived -> step("A hears that it is renewed");
        asking = 0; arrived = 0;
#ifdef WEAK_COUNTED_FROM_THE_ANSWER
        renewed = 0;
#else
        renewed = LEAST(asked, renewed);
#endif
        asked = 0;
        if :: !a_runs -> renewed = LIMIT :: else fi }
    :: d_step { !STANDS && asking -> step("A gives the renewal up");
        asking = 0; arrived = 0; asked = 0 }
    :: d_step { !STANDS && a_runs && a_linked -> step("A asks its kernel: connected"); looked = 0 }
#ifdef WEAK_QUERY_FROM_EVENTS
    /* what events said last, and they are late */
    :: d_step { !STANDS && a_runs && !a_linked && looked < LIMIT -> step("A looks at old events");
        looked = 0 }
#endif
    /* self-fence: at any moment once it may not run, or for any other reason */
    :: d_step { !STANDS && a_runs -> step("A stops the guest"); a_runs = 0;
        renewed = LIMIT; looked = LIMIT; asking = 0; arrived = 0; asked = 0 }
#ifdef WEAK_FENCED_BEFORE_STOPPED
    :: d_step { !STANDS && !fenced -> step("A reports: fenced"); fenced = 1 }
#else
    :: d_step { !STANDS && !a_runs && a_owns && !fenced -> step("A reports: fenced, or booted anew");
        fenced = 1 }
#endif
    /* a start is a swap: an assignment to B that was made before is void */
    :: d_step { !STANDS && !a_runs && a_owns -> step("A claims and starts the guest");
        a_runs = 1; renewed = 0; looked = LIMIT; newer = 1; proof_old = 0; assigned = 0;
        fenced = 0; b_checked = 0; check() }
#ifdef PAUSE
    :: d_step { !paused -> step("A stands still"); paused = 1 }
    :: d_step { paused -> step("A goes on"); paused = 0; awake = 0; dead = 0 }
#endif
    fi
}

/* ---- API: what A sent arrives, also late ---- */
inline api() {
    d_step { asking && !arrived -> step("API renews A's Lease");
        arrived = 1; newer = 1; proof_old = 1 }
}

/* ---- link ---- */
inline link() {
    if
    :: d_step { linked -> step("the link dies"); linked = 0; dead = 0 }
    :: d_step { !STANDS && a_linked && !linked -> step("A notices"); a_linked = 0; dead = 0 }
    :: d_step { b_linked && !linked -> step("B notices"); b_linked = 0; gone = 0 }
    :: d_step { !linked && !a_linked && !b_linked && !b_runs && !STANDS -> step("the link is back");
        linked = 1; a_linked = 1; b_linked = 1; gone = 0 }
    fi
}

/* ---- C ---- */
inline controller() {
    if
    :: d_step { newer -> step("C sees a newer Lease"); newer = 0; unchanged = 0 }
#ifdef WEAK_NO_LEASE_WAIT
    :: d_step { !assigned -> step("C assigns the guest to B");
#else
    :: d_step { !newer && unchanged >= L && !assigned -> step("C assigns the guest to B");
#endif
        assigned = 1; proof_old = 0 }
    :: d_step { assigned && proof_old -> step("C withdraws it"); assigned = 0; proof_old = 0 }
    fi
}

/* ---- B ---- */
#ifdef WEAK_PROOF_NOT_COMPARED
#define PROOF assigned
#else
#define PROOF (assigned && !proof_old)
#endif

inline host_b() {
    if
    :: d_step { !b_runs && !b_checked && !b_linked && ((PROOF && gone >= LINK_WAIT) || fenced) ->
        step("B finds every condition true"); b_checked = 1 }
    :: d_step { b_checked && !b_runs -> step("B swaps, promotes, starts the guest");
        a_owns = 0; b_runs = 1; b_checked = 0; check() }
    fi
}

active proctype System() {
end: do
    :: tick()
    :: host_a()
    :: api()
    :: link()
    :: controller()
    :: host_b()
    od
}
