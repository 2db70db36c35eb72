;; Inner products of one int16 vector with many int8 vectors, 16 numbers at a time.
(module
  (import "library" "memory" (memory 1))
  (func (export "dotProducts")
    (param $query i32) (param $vectors i32) (param $products i32) (param $count i32) (param $size i32)
    (local $end i32) (local $left i32) (local $right i32) (local $stop i32) (local $sum v128) (local $other v128)
    (local.set $end (i32.add (local.get $products) (i32.shl (local.get $count) (i32.const 2))))
    (local.set $right (local.get $vectors))
    (block $done
      (loop $vector
        (br_if $done (i32.ge_u (local.get $products) (local.get $end)))
        (local.set $sum (v128.const i32x4 0 0 0 0))
        (local.set $other (v128.const i32x4 0 0 0 0))
        (local.set $left (local.get $query))
        (local.set $stop (i32.add (local.get $right) (local.get $size)))
        (loop $block
          (local.set $sum
            (i32x4.add
              (local.get $sum)
              (i32x4.dot_i16x8_s (v128.load (local.get $left)) (v128.load8x8_s (local.get $right)))))
          (local.set $other
            (i32x4.add
              (local.get $other)
              (i32x4.dot_i16x8_s
                (v128.load offset=16 (local.get $left))
                (v128.load8x8_s offset=8 (local.get $right)))))
          (local.set $left (i32.add (local.get $left) (i32.const 32)))
          (local.set $right (i32.add (local.get $right) (i32.const 16)))
          (br_if $block (i32.lt_u (local.get $right) (local.get $stop))))
        (local.set $sum (i32x4.add (local.get $sum) (local.get $other)))
        (i32.store
          (local.get $products)
          (i32.add
            (i32.add (i32x4.extract_lane 0 (local.get $sum)) (i32x4.extract_lane 1 (local.get $sum)))
            (i32.add (i32x4.extract_lane 2 (local.get $sum)) (i32x4.extract_lane 3 (local.get $sum)))))
        (local.set $products (i32.add (local.get $products) (i32.const 4)))
        (br $vector)))))
