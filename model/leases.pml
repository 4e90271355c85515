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
 * reach the API long after A has given them up.
 *
 * With -DPAUSE host A stands still as a whole, any number of times and for as long as it likes: its
 * programs, its watchdog and its kernel's timers; its clock goes on. Then two instances may execute,
 * but only for RESIDUE after the old one woke up or lost the link again, and it acknowledges nothing.
 *
 * With -DHELD a guest of A may be killed, and its process stays: a frozen device holds it. The
 * watchdog is fed on once A has seen that nothing of it executes any more (killed.pml).
 *
 * With -DEACH_WAY each way of the link dies and is back by itself, as often as it likes. With -DACKNOWLEDGED a
 * look counts only once it is proven, and B counts from the last packet (acknowledged.pml).
 *
 * The values are small and not the profiles': the inequalities are what is explored. D and Q are
 * several ticks long, so that leaving either out of the link wait shows.
 */

#ifndef R
#define R 4     /* selfFenceSeconds */
#define Q 4     /* queryFreshnessSeconds */
#define F 2     /* fencingSeconds */
#define W 2     /* watchdogSeconds */
#define D 6     /* linkDetectionSeconds */
#endif
#ifndef SLOW
#define SLOW 2
#define FAST 3
#endif
#define MARGIN 1

/* the inequalities of docs/timing.md, for the ratio 3/2 of these clocks, rounded up */
#define RATIO(x) ((3 * (x) + 1) / 2)
#ifndef L
#ifdef WEAK_LEASE_OF_THE_TAKERS_SPEC
#define L (RATIO(R + F + W) / 2)        /* a shorter profile, which A has not heard of yet */
#else
#define L (RATIO(R + F + W) + MARGIN)
#endif
#endif
#ifndef LINK_FRESH
#define LINK_FRESH (D + Q)      /* since B saw the link alive: so long A may run by it */
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
#define LINK_WAIT (RATIO(LINK_FRESH + F + W) + MARGIN)
#endif
#endif
#endif
#endif

#ifdef MIXED
#define ACKNOWLEDGED
#endif
#ifdef ACKNOWLEDGED
#define EACH_WAY
#define LOOK_COUNTS LINK_FRESH  /* a proven one */
#else
#define LOOK_COUNTS Q
#endif

#define step(text) printf("\n  "); printf(text)

/* host A: its guest, and how long ago by A's clock */
bit  a_runs = 1;
bit  a_owns = 1;        /* it is the owner, by the API */
bit  a_claimed;         /* it was, and is about to start the guest */
#ifdef HELD
bit  a_killed;          /* SIGKILL was sent to it; it executes until its processors have heard */
bit  a_held;            /* it was killed and executes nothing more; its process is there */
bit  a_seen;            /* A has seen that */
#define PRESENT (a_runs || a_held)
#define SEEN a_seen
#else
#define PRESENT a_runs
#define SEEN false
#endif
byte renewed;           /* the last confirmed renewal was sent */
byte looked;            /* the last look at the link that counts was asked for */
byte asked;             /* the renewal that is under way was sent */
bit  asking;
bit  arrived;           /* it was carried out, and its answer is under way */

/* the replication link, as it is and as each kernel sees it */
#ifdef EACH_WAY
#define linked true     /* either way dies and is back as it likes: a packet arrives, or does not */
#else
bit  linked = 1;
#endif
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

bit  a_alone;           /* DRBD lost the link, and the API granted that A goes on alone */

#ifdef PAUSE
bit  paused;
bit  lapsed;            /* it may have been replaced: no heartbeat counts until it has swapped */
#ifndef RESIDUE
#define RESIDUE (D + Q + F + W) /* its kernel may show the link for D more, as its looks then do */
#endif
byte awake = RESIDUE;   /* by A's clock: since it woke up, or the link that it lived on died */
#define STANDS paused
#ifdef WEAK_LAPSE_NOT_AFFIRMED
#define LAPSED false    /* any heartbeat counts */
#else
#define LAPSED lapsed
#endif
#define IN_RESIDUE (lapsed && awake < RESIDUE)
#else
#define STANDS false
#define LAPSED false
#define IN_RESIDUE false
#endif

#ifdef EACH_WAY
#if defined(ACKNOWLEDGED) && !defined(MIXED) && !defined(ALSO_FRESH)
#define HEARS true                              /* its kernel may show a dead link for ever */
#else
#define HEARS b_linked                          /* what B sends may arrive, a sign of life */
#endif
#define IS_WHOLE (a_linked && b_linked)
#ifdef ACKNOWLEDGED
#define CAN_CONNECT (socket != OPEN)
#else
#define CAN_CONNECT true
#endif
#else
#define HEARS linked
#define IS_WHOLE linked
#define CAN_CONNECT (!linked)
#endif

#define LEAST(x, y) ((x) < (y) -> (x) : (y))
#define LEASE_LIMIT (R + F + W)
#define LINK_LIMIT (LOOK_COUNTS + F + W)
#define MAY_RUN_BY_LEASE (!LAPSED && renewed <= R)
#ifdef ALSO_FRESH
#define MAY_RUN_BY_LINK  (looked <= LOOK_COUNTS && shown <= Q)
#define LINK_IS_OVER     (looked >= LINK_LIMIT || shown >= Q + F + W)
#else
#define MAY_RUN_BY_LINK  (looked <= LOOK_COUNTS)
#define LINK_IS_OVER     (looked >= LINK_LIMIT)
#endif
/* the watchdog: the last moment at which either was true is F + W ago */
#define RESET_IS_DUE ((LAPSED || renewed >= LEASE_LIMIT) && LINK_IS_OVER)

/* A write is acknowledged once both have it, or if A may go on alone. A frozen device acknowledges
 * nothing, and neither does one that still waits for a peer that has hung up. */
#define A_ACKNOWLEDGES (a_runs && !STANDS && \
                        ((linked && a_linked && b_linked) || (a_alone && !a_linked)))

#ifdef PAUSE
inline lived_on_it() { if :: lapsed -> awake = 0 :: else fi }
#else
#define lived_on_it() skip
#endif

#ifdef ACKNOWLEDGED
#include "acknowledged.pml"
#else
#define looks() looked = 0
#define no_look() skip
#define b_counts() gone = 0
#define connects() skip
#define LONG_GONE (gone >= LINK_WAIT)
#define COUNTS (!b_linked && a_owns)
#endif
#ifndef MIXED
#define says() skip
#define is_told() skip
#define given_up() skip
#define lands() skip
#endif
#ifdef ALSO_FRESH
#define is_seen_to_stand() shown = Q
#else
#define is_seen_to_stand() skip
#endif
inline check() {
    assert(!(a_runs && b_runs && !STANDS) || IN_RESIDUE);
    assert(!(A_ACKNOWLEDGES && b_runs))
}

inline advance(age, by, limit) {
    if :: age + by >= limit -> age = limit :: else -> age = age + by fi
}

inline a_stops() {
#ifdef HELD
    a_killed = 0; a_held = 0;
#ifndef WEAK_SEEN_OF_AN_EARLIER_GUEST
    a_seen = 0;
#endif
#endif
    given_up();
    a_runs = 0; a_claimed = 0; renewed = LEASE_LIMIT; looked = LINK_LIMIT;
    asking = 0; arrived = 0; asked = 0;
#ifdef PAUSE
    lapsed = 0; awake = RESIDUE;
#endif
    no_look();
    a_alone = 0
}

inline a_is_reset() {
    a_stops(); a_linked = 0; dead = 0;
#ifndef EACH_WAY
    linked = 0
#endif
}

/* What A's time enforces, unless A stands still. */
inline enforce() {
    if
    :: a_linked && !HEARS && dead >= D -> a_linked = 0; dead = 0
    :: else
    fi;
#ifndef WEAK_NO_WATCHDOG
    if
    :: PRESENT && !SEEN && RESET_IS_DUE -> a_is_reset()
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
            /* A's clock goes on also while A stands still; its kernel's timers do not */
#ifdef CLOCK_STANDS_STILL_TOO
            if :: STANDS -> a_by = 0 :: else fi;
#endif
            if :: PRESENT || a_claimed -> advance(renewed, a_by, LEASE_LIMIT) :: else fi;
            if :: PRESENT -> advance(looked, a_by, LINK_LIMIT) :: else fi;
            if :: asking -> advance(asked, a_by, LEASE_LIMIT) :: else fi;
            if :: !STANDS && a_linked && !HEARS -> advance(dead, a_by, D) :: else fi;
#ifdef PAUSE
            if :: !paused -> advance(awake, a_by, RESIDUE); :: else fi;
#endif
            if :: !STANDS -> enforce() :: else fi;
#ifdef ACKNOWLEDGED
            if :: flight -> advance(pending, a_by, LINK_LIMIT) :: else fi;
            if :: pending == LINK_LIMIT -> no_look() :: else fi;
#ifdef ALSO_FRESH
            if :: PRESENT -> advance(shown, a_by, Q + F + W) :: else fi;
#endif
#endif
            if :: COUNTS -> advance(gone, b_by, LINK_WAIT) :: else fi;
            if :: a_owns && !newer -> advance(unchanged, c_by, L) :: else fi;
            a_by = 0; b_by = 0; c_by = 0;
            check()
        }
    }
}

/* ---- A ---- */
#ifdef WEAK_RESUMED_BY_ANYBODY
#define OWNS true
#else
#define OWNS a_owns
#endif
/* A heartbeat sent since it woke up comes first: what the taker finds true after that comes L later,
 * and until then what its kernel still said of the link counts no more, as R >= D + Q. */
#ifdef WEAK_AFFIRMED_BEFORE_A_HEARTBEAT
#define HEARD true
#else
#define HEARD (renewed <= R)
#endif
#ifdef WEAK_STARTED_BESIDE_A_HELD_ONE
#define MAY_BE_HERE a_runs
#else
#define MAY_BE_HERE PRESENT
#endif
#if defined(SHORT_PAUSES) || defined(CLOCK_STANDS_STILL_TOO)
#define MAY_WAKE true
#else
#define MAY_WAKE (!MAY_RUN_BY_LEASE && !MAY_RUN_BY_LINK)
#endif

inline host_a() {
    if
    :: d_step { !STANDS && (PRESENT || a_claimed) && !asking -> step("A sends a renewal");
        asking = 1; arrived = 0; asked = 0; says() }
#ifdef MIXED
    :: living()
#endif
    :: d_step { !STANDS && arrived -> step("A hears that it is renewed");
        asking = 0; arrived = 0;
#ifndef WEAK_OLD_CLAIM_STARTS
        if :: a_claimed && renewed > R -> a_claimed = 0 :: else fi;
#endif
#ifdef WEAK_COUNTED_FROM_THE_ANSWER
        renewed = 0;
#else
        renewed = LEAST(asked, renewed);
#endif
        asked = 0; is_told();
        if :: !PRESENT && !a_claimed -> renewed = LEASE_LIMIT :: else fi }
    :: d_step { !STANDS && asking -> step("A gives the renewal up");
        given_up(); asking = 0; arrived = 0; asked = 0 }
    :: d_step { !STANDS && a_runs && a_linked -> step("A asks its kernel: connected"); looks() }
#ifdef WEAK_QUERY_FROM_EVENTS
    /* what events said last, and they are late */
    :: d_step { !STANDS && a_runs && !a_linked && looked < LINK_LIMIT -> step("A looks at old events");
        looked = 0 }
#endif
    /* self-fence: at any moment once it may not run, or for any other reason */
    :: d_step { !STANDS && a_runs -> step("A stops the guest"); a_stops() }
#ifdef HELD
    :: d_step { !STANDS && a_runs && !a_killed -> step("A kills the guest"); a_killed = 1 }
    /* Its processors have heard of it, and its last write holds its process. Nothing makes it execute
     * again. */
    :: d_step { !STANDS && a_runs && a_killed -> step("it executes nothing more, and is held");
        a_runs = 0; a_held = 1; a_alone = 0 }
    :: d_step { !STANDS && a_held && !a_seen -> step("A sees that it executes nothing more"); a_seen = 1 }
#ifdef WEAK_FED_ONCE_KILLED
    :: d_step { !STANDS && a_killed && !a_seen -> step("A feeds on, as it was killed"); a_seen = 1 }
#endif
    :: d_step { a_seen -> step("A's actuator is restarted"); a_seen = 0 }
    :: d_step { !STANDS && a_held -> step("the device lets it go"); a_stops() }
#endif
#ifdef WEAK_FENCED_BEFORE_STOPPED
    :: d_step { !STANDS && a_owns && !fenced -> step("A reports: fenced"); fenced = 1 }
#else
    :: d_step { !STANDS && !PRESENT && a_owns && !fenced -> step("A reports: fenced, or booted anew");
        fenced = 1; a_stops() }
#endif
    /* A claim is a swap: an assignment to B that was made before is void. */
    :: d_step { !STANDS && !MAY_BE_HERE && a_owns -> step("A claims");
        a_claimed = 1; renewed = 0; newer = 1; proof_old = 0; assigned = 0; fenced = 0;
        b_checked = 0 }
    /* Rule 14: its heartbeat has not lapsed since then. A promotion asks the peer if it is connected, so
     * it comes to no end over a link that is dead and not yet lost. */
    :: d_step { !STANDS && a_claimed && renewed <= R && (IS_WHOLE || !a_linked) ->
        step("A starts the guest"); a_claimed = 0; a_runs = 1; looked = LINK_LIMIT; check() }
    /* DRBD froze and asks: only the owner goes on alone (rule 4), and then nobody takes over (6) */
    :: d_step { !STANDS && a_runs && !a_linked && !a_alone && OWNS -> step("A may go on alone");
        a_alone = 1; b_checked = 0; check() }
#ifdef PAUSE
    :: d_step { !paused && a_runs -> step("A stands still"); paused = 1 }
    /* Its guard looks at the clock, before anything that A did meanwhile counts. A fence has F from
     * now, and its watchdog goes on to count where it stood. */
    :: d_step { paused && MAY_WAKE -> step("A goes on"); paused = 0; dead = 0;
        if
        :: a_runs -> awake = 0;
            if
            :: !MAY_RUN_BY_LEASE && !MAY_RUN_BY_LINK -> lapsed = 1; looked = LOOK_COUNTS; is_seen_to_stand();
                renewed = LEASE_LIMIT; asked = (asking -> LEASE_LIMIT : 0)
            :: else
            fi
        :: else
        fi;
        check() }
    /* Rule 10. What B found true before is void, and so is an assignment, which names the epoch. */
    :: d_step { !STANDS && a_runs && lapsed && a_owns && HEARD -> step("A affirms that it owns the mirror");
        lapsed = 0;
#ifndef WEAK_LAPSE_AFFIRMED_BY_A_READ
        assigned = 0; proof_old = 0; b_checked = 0
#endif
        }
#endif
    fi
}

/* ---- API: what A sent arrives, also late ---- */
inline api() {
    if
    :: d_step { asking && !arrived -> step("API renews A's Lease");
        arrived = 1; lands();
        if :: a_owns -> newer = 1; proof_old = assigned :: else fi }
#ifdef MIXED
    :: lands_late()
#endif
    fi
}

/* ---- link ---- */
inline link() {
    if
#ifdef EACH_WAY
    :: d_step { !STANDS && a_linked -> step("A notices that the link is lost"); a_linked = 0; dead = 0 }
    :: d_step { b_linked -> step("B notices that the link is lost"); b_linked = 0; dead = 0; lived_on_it();
        b_counts() }
#else
    :: d_step { linked -> step("the link dies"); linked = 0; dead = 0;
#ifndef RESIDUE_FROM_WAKING_UP_ALONE
        lived_on_it()
#endif
        }
    :: d_step { !STANDS && a_linked && !linked -> step("A notices"); a_linked = 0; dead = 0 }
    :: d_step { b_linked && !linked -> step("B notices"); b_linked = 0; b_counts() }
#endif
    :: d_step { CAN_CONNECT && !a_linked && !b_linked && !b_runs && !STANDS -> step("the link is back");
#ifndef EACH_WAY
        linked = 1;
#endif
        a_linked = 1; b_linked = 1; gone = 0; dead = 0; connects();
        if :: a_alone -> a_alone = 0; b_checked = 0 :: else fi }
#ifdef ACKNOWLEDGED
    :: sockets()
#else
#ifdef HALF_CONNECTED
    /* B has said what it is, and gives the connection up before it hears what A is */
    :: d_step { !a_linked && !b_linked && !b_runs && !STANDS -> step("A is connected, and B is not");
        a_linked = 1; dead = 0 }
#endif
#endif
    fi
}

/* ---- C ---- */
inline controller() {
    if
    :: d_step { newer -> step("C sees a newer Lease"); newer = 0; unchanged = 0 }
#ifdef WEAK_NO_LEASE_WAIT
    :: d_step { a_owns && !assigned -> step("C assigns the guest to B");
#else
    :: d_step { a_owns && !newer && unchanged >= L && !assigned -> step("C assigns the guest to B");
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

#ifdef AGAIN_BEFORE_PROMOTION
#define MAY_PROMOTE (by_word || LONG_GONE)      /* the link may have been back since the swap */
#else
#define MAY_PROMOTE true
#endif

inline host_b() {
    if
    :: d_step { a_owns && !a_alone && !b_checked && !b_linked && ((PROOF && LONG_GONE) || fenced) ->
        step("B finds every condition true"); b_checked = 1
#ifdef AGAIN_BEFORE_PROMOTION
        ; by_word = fenced
#endif
        }
    /* whatever A swapped meanwhile makes it fail */
    :: d_step { b_checked -> step("B swaps: it is the owner");
        a_owns = 0; b_checked = 0;
        assigned = 0; proof_old = 0; newer = 0; unchanged = 0; fenced = 0;
#ifdef AGAIN_BEFORE_PROMOTION
        if :: by_word -> gone = 0 :: else fi
#else
        gone = 0
#endif
        }
    /* while it is connected its kernel refuses a second Primary */
    :: d_step { !a_owns && !b_runs && MAY_PROMOTE && (!b_linked || !a_runs) -> step("B promotes, and starts the guest");
        b_runs = 1; gone = 0; check() }
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
