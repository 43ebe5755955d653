//! Fair shares: how a number of tokens is divided among those who want some, by weighted max-min fairness.
//!
//! Doesn't know who they are, what they hold already, or time.

/// One who wants tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanting {
    /// It has so many in any case, also beyond its share.
    pub floor: u32,
    /// It can use so many at the most, the floor counted in.
    pub most: u32,
    /// Its share beside others, 1 or more.
    pub weight: u32,
}

/// Divides `tokens`: nobody gets more than `most`, nobody less than `floor` (also where there aren't enough for that),
/// and nobody could get more but by taking from one who has less per weight. Of what can't be divided evenly the first
/// from `turn` on get one each.
pub fn divide(all: &[Wanting], tokens: u32, turn: usize) -> Vec<u32> {
    let at = |level: f64| -> Vec<u32> {
        let part = |one: &Wanting| ((level * f64::from(one.weight)) as u32).min(one.most).max(one.floor);
        all.iter().map(part).collect()
    };
    let sum = |parts: &[u32]| parts.iter().map(|&part| u64::from(part)).sum::<u64>();
    let highest =
        all.iter().map(|one| f64::from(one.most) / f64::from(one.weight.max(1))).fold(0.0, f64::max);
    let whole = at(highest + 1.0);
    if sum(&whole) <= u64::from(tokens) {
        return whole;
    }
    let (mut low, mut high) = (0.0, highest + 1.0);
    // Levels that matter are a 4096th apart at the least (weight 1000, 4096 tokens): more than that many halvings.
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if sum(&at(middle)) <= u64::from(tokens) { low = middle } else { high = middle }
    }
    let mut parts = at(low);
    let mut left = u64::from(tokens).saturating_sub(sum(&parts));
    let mut order: Vec<usize> = (0..all.len()).filter(|&i| parts[i] < all[i].most).collect();
    let level = |i: usize, part: u32| f64::from(part + 1) / f64::from(all[i].weight.max(1));
    let place = |i: usize| (i + all.len() - turn % all.len().max(1)) % all.len().max(1);
    order.sort_by(|&a, &b| level(a, parts[a]).total_cmp(&level(b, parts[b])).then(place(a).cmp(&place(b))));
    for i in order {
        if left == 0 {
            break;
        }
        parts[i] += 1;
        left -= 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(most: &[u32]) -> Vec<Wanting> {
        most.iter().map(|&most| Wanting { floor: 0, most, weight: 1 }).collect()
    }

    #[test]
    fn shares() {
        let rows: [(&[u32], u32, &[u32]); 7] = [
            (&[9, 9], 8, &[4, 4]),
            (&[9, 9, 9], 8, &[3, 3, 2]),
            (&[1, 9, 9], 8, &[1, 4, 3]),
            (&[1, 2], 8, &[1, 2]),
            (&[0, 9], 8, &[0, 8]),
            (&[9], 0, &[0]),
            (&[], 5, &[]),
        ];
        for (most, tokens, parts) in rows {
            assert_eq!(divide(&plain(most), tokens, 0), parts, "{most:?}, {tokens}");
        }
    }

    #[test]
    fn the_odd_one_goes_round() {
        let odd = |turn| divide(&plain(&[9, 9, 9]), 7, turn);
        assert_eq!([odd(0), odd(1), odd(2)], [[3, 2, 2], [2, 3, 2], [2, 2, 3]]);
    }

    #[test]
    fn weights_and_floors() {
        let one = |floor, most, weight| Wanting { floor, most, weight };
        assert_eq!(divide(&[one(0, 99, 3), one(0, 99, 1)], 8, 0), [6, 2]);
        assert_eq!(divide(&[one(5, 99, 1), one(0, 99, 1), one(0, 99, 1)], 8, 0), [5, 2, 1]);
        assert_eq!(divide(&[one(3, 3, 1), one(3, 3, 1)], 4, 0), [3, 3], "floors stand");
    }

    fn wanting() -> impl Strategy<Value = Wanting> {
        (0u32..4, 0u32..20, 1u32..5).prop_map(|(floor, more, weight)| Wanting {
            floor,
            most: floor + more,
            weight,
        })
    }

    proptest! {
        #[test]
        fn all_is_given_and_nobody_envies(
            all in prop::collection::vec(wanting(), 1..9),
            tokens in 0u32..60,
            turn in 0usize..9,
        ) {
            let parts = divide(&all, tokens, turn);
            let sum: u32 = parts.iter().sum();
            let floors: u32 = all.iter().map(|one| one.floor).sum();
            let most: u32 = all.iter().map(|one| one.most).sum();
            prop_assert_eq!(sum, tokens.min(most).max(floors));
            for (i, one) in all.iter().enumerate() {
                prop_assert!((one.floor..=one.most).contains(&parts[i]));
                for (j, other) in all.iter().enumerate() {
                    // Who could use one more doesn't see another who would still have more without one.
                    let mine = f64::from(parts[i] + 1) / f64::from(one.weight);
                    let theirs = f64::from(parts[j]) / f64::from(other.weight);
                    let envies = parts[i] < one.most && parts[j] > other.floor && mine < theirs - 1e-9;
                    prop_assert!(!envies, "{:?} of {:?}", parts, all);
                }
            }
        }
    }
}
