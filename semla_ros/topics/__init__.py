"""Every output of semla_ros, defined once. The live node and the bag writer both read `semla_ros.topics.outputs`."""
