//! The list of every error code.

/// Declares [`Code`]; one line per code keeps number, name and title together.
macro_rules! codes {
    ($($id:ident $name:ident $title:literal)*) => {
        /// What kind of mistake a finding is. The number never changes its meaning, so that it can be searched for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = concat!("`", stringify!($id), "`: ", $title, ".")] $name),* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The number as shown: `E0201`; warnings begin with a `W`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => stringify!($id)),* }
            }

            /// The mistake in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }
        }
    };
}

codes! {
    E0100 Unreadable          "a file cannot be read"
    E0101 Syntax              "a file is not valid TOML"
    E0102 BaseCycle           "`_base_` runs in a circle"
    E0103 BadBase             "`_base_` is neither a path nor a list of paths"
    E0104 BaseClash           "two bases set one key to different values"
    E0105 UnsupportedValue    "a value of a kind that configs do not have"
    E0106 BadDelete           "`_delete_` is neither true nor false"
    E0110 BadOverride         "a `--set` item or an environment variable is not understood"
    E0111 OverrideTarget      "a `--set` item points at something that is not there"
    E0120 ExpressionSyntax    "an expression cannot be read"
    E0121 UnknownReference    "an expression names something that does not exist"
    E0122 ReferenceCycle      "expressions refer to each other in a circle"
    E0123 ExpressionFails     "an expression cannot be computed"
    E0124 BadSplice           "`{{ *… }}` is used where no list can be spliced"
    E0125 UnsetVariable       "an environment variable is not set"
    E0201 UnknownKey          "a key that the part does not know"
    E0202 UnknownName         "a name that nothing is known by"
    E0203 MissingKey          "a key that has to be there is missing"
    E0204 WrongType           "a value of the wrong type"
    E0205 BadValue            "a value that is not allowed here"
    E0206 OutOfRange          "a number that is out of range"
    E0207 KeysBelongTogether  "keys that belong together are not all there"
    E0301 PartDoesNotFit      "a part cannot be built from its config"
    E0302 NameRegisteredTwice "two parts are registered under one name"
    E0310 ChannelMismatch     "a part is not made for the channels that it is given"
    E0311 StrideMismatch      "a part is not made for the strides that it is given"
    E0312 LevelMismatch       "a part is not made for as many levels as it is given"
    E0313 AnchorMismatch      "anchors, strides and levels do not fit together"
    E0320 ClassCount          "the model and the data differ in the number of classes"
    E0321 UnknownClass        "the annotations have no such class"
    E0322 ClassesDiffer       "two data sets of a run have different classes"
    E0330 SizeDivisor         "a picture size is no multiple of what the model needs"
    E0350 UntrainedParameter  "a parameter that no optimiser group trains, or more than one"
    E0360 NotThere            "a file or folder is not there"
    W0101 ValueOverTable      "a value takes the place of a table"
    W0102 TableOverValue      "a table takes the place of a value"
    W0103 DeletesNothing      "a `_delete_` deletes nothing"
    W0104 ShadowedKey         "a variable has the name of a key at the root"
    W0105 IdleOverride        "an override sets a variable that nothing reads"
    W0106 RepeatedValue       "an override repeats the value that it overrides"
    W0107 Deprecated          "something that is on its way out"
    W0201 UnusedVariable      "a variable that nothing reads"
    W0202 IdleKey             "a key that has no effect"
    W0301 OddPart             "a part can be built, but is probably not meant"
    W0311 StrideDiffers       "a part is told other strides than it is given"
    W0313 AnchorOrder         "anchors do not grow with their strides"
    W0330 BatchShape          "the batches are shaped for another batch size"
    W0340 LongWarmup          "the warm-up is longer than the run"
    W0360 DataElsewhere       "the data set is not on this machine"
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn numbers_are_unique_and_in_order() {
        let ids: Vec<_> = Code::ALL.iter().map(|it| it.id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }
}
